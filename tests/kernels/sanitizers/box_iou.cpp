#include "box_iou.h"

#include "driver.h"

namespace {

void run() {
  Random random(1);
  for (int64_t m : {1, 40, 300}) {
    int64_t n = 301;
    auto left = boxes(random, m), right = boxes(random, n);
    std::vector<float> iou(m * n);
    check(KERNEL(box_iou)(left.data(), m, right.data(), n, 1, iou.data(), nullptr));
  }
}

Operation operation("box_iou", run);

}  // namespace
