// See soft_nms.h. Candidates are put in order of their class first, as columns: a round then touches one class only,
// which knows its best candidate ever after. Those that begin too low are left out: scores only fall. Images are dealt
// to threads.
#include "../include/soft_nms.h"

#include <algorithm>
#include <limits>

#include "../shared/box.h"
#include "../shared/soften.h"
#include "../shared/workspace.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int kLanes = 16;
constexpr float kTaken = -std::numeric_limits<float>::infinity();

struct Class {
  int32_t begin, end;  // its candidates
  int32_t best;        // of them
};

// Arrays of an image, each of C entries.
struct Room {
  uint64_t* order;  // class and index of each candidate
  float *x1, *y1, *x2, *y2, *area, *left;
  Class* classes;

  Room(Workspace& workspace, int64_t c) : order(workspace.take<uint64_t>(c)) {
    for (float** column : {&x1, &y1, &x2, &y2, &area, &left}) *column = workspace.take<float>(c);
    classes = workspace.take<Class>(c);
  }
};

int64_t bytes_of_image(int64_t c) {
  Workspace workspace(nullptr);
  Room(workspace, c);
  return workspace.bytes();
}

class Image {
 public:
  Image(const Room& room, float sigma, float threshold) : room_(room), sigma_(sigma), threshold_(threshold) {}

  void load(const float* boxes_C4, const float* scores_C, const int32_t* classes_C, int64_t c) {
    int64_t count = 0;
    for (int64_t i = 0; i < c; ++i)
      if (scores_C[i] > threshold_) room_.order[count++] = (uint64_t)((int64_t)classes_C[i] - INT32_MIN) << 32 | i;
    std::sort(room_.order, room_.order + count);
    for (int32_t at = 0; at < count; ++at) {
      Box box = load_box(boxes_C4, index(at));
      room_.x1[at] = box.x1, room_.y1[at] = box.y1, room_.x2[at] = box.x2, room_.y2[at] = box.y2;
      room_.area[at] = area(box, 0.f);
      room_.left[at] = scores_C[index(at)];
      if (at == 0 || room_.order[at] >> 32 != room_.order[at - 1] >> 32) room_.classes[classes_++] = {at, at, at};
      room_.classes[classes_ - 1].end = at + 1;
    }
    for (int32_t number = 0; number < classes_; ++number) find_best(room_.classes[number]);
  }

  // How many are taken.
  int64_t take(int64_t max_keep, int32_t* kept_D, float* kept_scores_D) {
    for (int64_t slot = 0; slot < max_keep; ++slot) {
      Class* best = nullptr;
      for (Class* one = room_.classes; one < room_.classes + classes_; ++one)
        if (!best || better(one->best, best->best)) best = one;
      if (!best || !(room_.left[best->best] > threshold_)) return slot;
      kept_D[slot] = index(best->best), kept_scores_D[slot] = room_.left[best->best];
      lower(*best);
      find_best(*best);
    }
    return max_keep;
  }

 private:
  int32_t index(int64_t at) const { return (int32_t)(room_.order[at] & 0xffffffffu); }

  bool better(int32_t one, int32_t other) const {
    float left = room_.left[one], right = room_.left[other];
    return left > right || (left == right && index(one) < index(other));
  }

  void lower(const Class& taken) {
    const float *x1 = room_.x1, *y1 = room_.y1, *x2 = room_.x2, *y2 = room_.y2, *areas = room_.area;
    float *left = room_.left, one_area = areas[taken.best], sigma = sigma_;
    Box one{x1[taken.best], y1[taken.best], x2[taken.best], y2[taken.best]};
#pragma GCC ivdep
    for (int32_t j = taken.begin; j < taken.end; ++j)
      left[j] = softened(left[j], iou(one, one_area, {x1[j], y1[j], x2[j], y2[j]}, areas[j], 0.f), sigma);
    left[taken.best] = kTaken;
  }

  // The first of the highest scores; scores that are NaN by now are passed over.
  void find_best(Class& of) const {
    const float* left = room_.left;
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, kTaken);
    int32_t j = of.begin;
    for (; j + kLanes <= of.end; j += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = larger(left[j + lane], lanes[lane]);
    for (; j < of.end; ++j) lanes[0] = larger(left[j], lanes[0]);
    float highest = *std::max_element(lanes, lanes + kLanes);
    of.best = of.begin;
    while (left[of.best] != highest && of.best < of.end - 1) ++of.best;
  }

  Room room_;
  float sigma_, threshold_;
  int32_t classes_ = 0;
};

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(soft_nms_workspace)(int64_t batch, int64_t c) { return batch * kernels::bytes_of_image(c); }

KERNEL_API int KERNEL(soft_nms)(const float* boxes_BC4, const float* scores_BC, const int32_t* classes_BC,
                                int64_t batch, int64_t c, float sigma, float score_threshold, int64_t max_keep,
                                int32_t* kept_BD, float* kept_scores_BD, void* memory, void*) {
  using namespace kernels;
  if (batch < 0 || c < 0 || c > INT32_MAX || max_keep < 0 || !(sigma > 0)) return KERNEL_BAD_ARGUMENT;
  int64_t bytes = bytes_of_image(c);
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Workspace workspace((char*)memory + b * bytes);
      Image image(Room(workspace, c), sigma, score_threshold);
      image.load(boxes_BC4 + 4 * b * c, scores_BC + b * c, classes_BC + b * c, c);
      int32_t* kept_D = kept_BD + b * max_keep;
      float* kept_scores_D = kept_scores_BD + b * max_keep;
      int64_t count = image.take(max_keep, kept_D, kept_scores_D);
      std::fill(kept_D + count, kept_D + max_keep, 0);
      std::fill(kept_scores_D + count, kept_scores_D + max_keep, 0.f);
    }
  });
  return 0;
}
