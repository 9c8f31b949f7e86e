// Runs the linked operations: CPU bodies on three threads, emulated kernels in every order of threads.
#include "driver.h"

#include <stdio.h>

#if defined(KERNEL_TARGET_EMULATED)
extern "C" void emulated_set_order(int32_t order, int64_t seed);
#endif

namespace {

struct Named {
  const char* name;
  void (*run)();
};

std::vector<Named>& operations() {
  static std::vector<Named> known;
  return known;
}

bool succeeds(const Named& operation, const char* way) try {
  operation.run();
  printf("%s %s\n", operation.name, way);
  return true;
} catch (const std::exception& error) {
  printf("%s %s failed: %s\n", operation.name, way, error.what());
  return false;
}

}  // namespace

Operation::Operation(const char* name, void (*run)()) { operations().push_back({name, run}); }

int main() {
  bool good = !operations().empty();
  for (const Named& operation : operations()) {
#if defined(KERNEL_TARGET_EMULATED)
    const char* const orders[] = {"forward", "reverse", "random"};
    for (int32_t order = 0; order < 3; ++order) {
      emulated_set_order(order, 20);
      good &= succeeds(operation, orders[order]);
    }
#else
    check(KERNEL(set_threads)(3));
    good &= succeeds(operation, "cpu");
#endif
  }
  return good ? 0 : 1;
}
