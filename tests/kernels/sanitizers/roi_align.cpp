#include "roi_align.h"

#include "driver.h"

namespace {

template <class T>
struct Pyramid {
  static constexpr int64_t kLevels = 2, kImages = 2, kChannels = 9;
  std::vector<int64_t> shapes{25, 19, 13, 11}, strides;
  std::vector<double> scales{0.25, 0.125};
  std::vector<std::vector<T>> values;
  std::vector<void*> pointers;

  Pyramid(Random& random, bool channels_last) {
    for (int64_t level = 0; level < kLevels; ++level) {
      int64_t h = shapes[2 * level], w = shapes[2 * level + 1], c = kChannels;
      auto drawn = uniforms(random, kImages * c * h * w, -1, 1);
      values.emplace_back(drawn.begin(), drawn.end());
      pointers.push_back(values.back().data());
      if (channels_last) strides.insert(strides.end(), {h * w * c, 1, w * c, c});
      else strides.insert(strides.end(), {c * h * w, h * w, w, 1});
    }
  }
};

template <class T>
void run_with(int32_t type, int64_t ratio, int32_t channels_last) {
  Random random(8);
  using P = Pyramid<T>;
  P features(random, channels_last), gradients(random, channels_last);
  const int64_t rois = 21, bins = 7;
  auto cuts = boxes<T>(random, rois);
  auto images = integers(random, rois, P::kImages), levels = integers(random, rois, P::kLevels);
  std::vector<T> out(rois * P::kChannels * bins * bins);
  check(KERNEL(roi_align)(features.pointers.data(), features.shapes.data(), features.strides.data(),
                          features.scales.data(), P::kLevels, P::kImages, P::kChannels, type, cuts.data(),
                          images.data(), levels.data(), rois, bins, ratio, ratio > 0, 1, channels_last, out.data(),
                          nullptr));
  check(KERNEL(roi_align_backward)(gradients.pointers.data(), gradients.shapes.data(), gradients.strides.data(),
                                   gradients.scales.data(), P::kLevels, P::kImages, P::kChannels, type, cuts.data(),
                                   images.data(), levels.data(), rois, bins, ratio, ratio > 0, 1, channels_last,
                                   out.data(), nullptr));
}

void run() {
  run_with<float>(KERNEL_FLOAT32, 2, 0);
  run_with<float>(KERNEL_FLOAT32, 0, 1);
  run_with<double>(KERNEL_FLOAT64, 2, 1);
}

Operation operation("roi_align", run);

}  // namespace
