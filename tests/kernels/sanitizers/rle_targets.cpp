#include "rle_targets.h"

#include "driver.h"

namespace {

void run() {
  Random random(7);
  const int64_t objects = 3, rois = 5, side = 28;
  std::vector<uint32_t> counts;
  std::vector<int64_t> starts{0}, sizes;
  for (int64_t object = 0; object < objects; ++object) {
    uint32_t height = 60 + 10 * (uint32_t)object, width = 80, left = height * width;
    while (left) {
      uint32_t run = 1 + (uint32_t)(random() % 9);
      counts.push_back(run < left ? run : left);
      left -= counts.back();
    }
    starts.push_back((int64_t)counts.size());
    sizes.push_back(height), sizes.push_back(width);
  }
  counts.shrink_to_fit();
  std::vector<int32_t> object{0, 2, 1, 1, 0};
  auto cuts = boxes<double>(random, rois);
  std::vector<uint8_t> targets(rois * side * side);
  std::vector<uint32_t> workspace(counts.size());
  check(KERNEL(rle_targets)(counts.data(), starts.data(), sizes.data(), objects, object.data(), cuts.data(), rois, side,
                            side, 1, targets.data(), workspace.data(), nullptr));
}

Operation operation("rle_targets", run);

}  // namespace
