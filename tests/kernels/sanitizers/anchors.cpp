#include "anchors.h"

#include "driver.h"

namespace {

void run() {
  const double aspects[] = {1, 0.5, 1, 1, 1, 2};
  std::vector<double> cells(2 * 3 * 4);
  for (int level = 0; level < 2; ++level)
    check(KERNEL(anchor_cells)(ANCHORS_TORCHVISION, 8 << level, 32 << level, aspects, 3, 1, &cells[12 * level]));
  const int64_t grids[] = {17, 13, 9, 7};
  const double steps[] = {8, 8, 16, 16};
  std::vector<float> anchors(4 * 3 * (17 * 13 + 9 * 7));
  check(KERNEL(anchors)(cells.data(), 2, 3, grids, steps, anchors.data(), nullptr));
}

Operation operation("anchors", run);

}  // namespace
