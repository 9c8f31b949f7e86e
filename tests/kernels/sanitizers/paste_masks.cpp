#include "paste_masks.h"

#include "driver.h"

namespace {

void run() {
  Random random(9);
  const int64_t n = 5, side = 28, height = 71, width = 93;
  auto masks = uniforms(random, n * side * side, 0, 1);
  auto places = boxes(random, n);
  std::vector<uint8_t> pasted(n * height * width);
  check(KERNEL(paste_masks)(masks.data(), n, side, places.data(), height, width, 0.5f, pasted.data(), nullptr));
}

Operation operation("paste_masks", run);

}  // namespace
