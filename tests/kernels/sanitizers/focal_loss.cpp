#include "focal_loss.h"

#include "driver.h"

namespace {

template <class T>
void run_with(int32_t type) {
  Random random(10);
  const int64_t n = 800, k = 11;
  auto drawn = uniforms(random, n * k, -6, 6);
  std::vector<T> logits(drawn.begin(), drawn.end()), total(1), upstream(1, 1), gradients(n * k);
  auto classes = integers(random, n, (int32_t)k + 2);
  for (int32_t& each : classes) each -= 2;
  std::vector<char> workspace(KERNEL(focal_loss_workspace)(n, k));
  check(KERNEL(focal_loss)(logits.data(), classes.data(), n, k, type, 0.25, 1.5, 0.1, total.data(), workspace.data(),
                           nullptr));
  check(KERNEL(focal_loss_backward)(logits.data(), classes.data(), n, k, type, 0.25, 1.5, 0.1, upstream.data(),
                                    gradients.data(), nullptr));
}

void run() {
  run_with<float>(KERNEL_FLOAT32);
  run_with<double>(KERNEL_FLOAT64);
}

Operation operation("focal_loss", run);

}  // namespace
