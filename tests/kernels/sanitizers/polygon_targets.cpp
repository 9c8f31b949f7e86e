#include "polygon_targets.h"

#include "driver.h"

namespace {

// Objects of two crossing polygons of 150 vertices each, and one without any.
void run() {
  Random random(6);
  std::vector<double> points;
  std::vector<int64_t> polygon_starts{0}, object_starts{0};
  for (int object = 0; object < 3; ++object) {
    for (int part = 0; part < 2; ++part) {
      for (int vertex = 0; vertex < 300; ++vertex) points.push_back(uniform(random, -10, 110));
      polygon_starts.push_back((int64_t)points.size() / 2);
    }
    object_starts.push_back((int64_t)polygon_starts.size() - 1);
  }
  object_starts.push_back(object_starts.back());
  const int64_t rois = 5;
  std::vector<int32_t> object{0, 3, 2, 1, 0};
  auto cuts = boxes<double>(random, rois);
  for (int64_t side : {28, 75}) {
    std::vector<uint8_t> targets(rois * side * (side + 1));
    std::vector<char> workspace(KERNEL(polygon_targets_workspace)(rois, side, side + 1));
    check(KERNEL(polygon_targets)(points.data(), polygon_starts.data(), object_starts.data(), object.data(),
                                  cuts.data(), rois, side, side + 1, 1, targets.data(), workspace.data(), nullptr));
  }
}

Operation operation("polygon_targets", run);

}  // namespace
