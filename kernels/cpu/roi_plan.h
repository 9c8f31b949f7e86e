// Every RoI's samples, worked out once for all channels: per bin and direction the pixels that its samples fall between,
// each once, with its share of the bin's average.
#pragma once
#include <algorithm>
#include <vector>

#include "../shared/roi.h"
#include "parallel.h"

namespace kernels {

template <class T>
struct RoiTap {
  int32_t pixel;
  T weight;
};

// One direction of an RoI: bin b has taps[starts[b]] up to taps[starts[b + 1] - 1]. All of them are from pixel `first` up
// to pixel `end` - 1; none if end is 0.
template <class T>
struct RoiTaps {
  const int32_t* starts;
  const RoiTap<T>* taps;
  int32_t first, end;

  const RoiTap<T>* begin_of(int64_t bin) const { return taps + starts[bin]; }
  const RoiTap<T>* end_of(int64_t bin) const { return taps + starts[bin + 1]; }
};

template <class T>
struct PlannedRoi {
  int64_t roi;
  int32_t image, level;
  RoiTaps<T> y, x;
};

// RoIs of one image and level, `begin` to `end` - 1 in the plan's order.
struct RoiGroup {
  int64_t begin, end;
};

template <class T>
class RoiPlan {
 public:
  template <class U>
  RoiPlan(const RoiPyramid<U>& pyramid, const Rois<T>& rois) {
    for (int64_t r = 0; r < rois.rois; ++r)
      if (has_features(pyramid, rois, r)) planned_.push_back({r, rois.images_R[r], rois.levels_R[r], {}, {}});
    std::vector<int64_t> rooms = make_room(pyramid, rois);
    parallel_for(count(), 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) fill(pyramid, rois, i, rooms[2 * i], rooms[2 * i + 1]);
    });
    sort();
    group();
  }

  int64_t count() const { return (int64_t)planned_.size(); }
  const PlannedRoi<T>& operator[](int64_t i) const { return planned_[i]; }
  const std::vector<RoiGroup>& groups() const { return groups_; }

 private:
  // One image and level after the other, from top to bottom, so that pixels stay in the caches.
  void sort() {
    std::stable_sort(planned_.begin(), planned_.end(), [](const PlannedRoi<T>& a, const PlannedRoi<T>& b) {
      if (a.image != b.image) return a.image < b.image;
      return a.level != b.level ? a.level < b.level : a.y.first < b.y.first;
    });
  }

  void group() {
    for (int64_t i = 0; i < count(); ++i) {
      const PlannedRoi<T>&one = planned_[i], &before = planned_[i ? i - 1 : 0];
      if (i == 0 || one.image != before.image || one.level != before.level) groups_.push_back({i, i});
      groups_.back().end = i + 1;
    }
  }

  // Where the taps of each RoI's two directions begin.
  template <class U>
  std::vector<int64_t> make_room(const RoiPyramid<U>& pyramid, const Rois<T>& rois) {
    std::vector<int64_t> rooms;
    int64_t used = 0;
    for (const PlannedRoi<T>& one : planned_)
      for (int direction = 0; direction < 2; ++direction) {
        RoiAxis<T> axis = axis_of(pyramid, rois, one, direction);
        rooms.push_back(used);
        used += rois.bins * std::min<int64_t>(2 * axis.samples, axis.length);
      }
    taps_.resize(used);
    starts_.resize(2 * (rois.bins + 1) * planned_.size());
    return rooms;
  }

  template <class U>
  static RoiAxis<T> axis_of(const RoiPyramid<U>& pyramid, const Rois<T>& rois, const PlannedRoi<T>& one, int direction) {
    const RoiLevel<U>& level = pyramid.level[one.level];
    const T* box = rois.rois_R4 + 4 * one.roi;
    return direction == 0 ? roi_axis(rois, box[1], box[3], level.scale, level.rows)
                          : roi_axis(rois, box[0], box[2], level.scale, level.columns);
  }

  template <class U>
  void fill(const RoiPyramid<U>& pyramid, const Rois<T>& rois, int64_t i, int64_t room_y, int64_t room_x) {
    PlannedRoi<T>& one = planned_[i];
    int32_t* starts = starts_.data() + 2 * (rois.bins + 1) * i;
    one.y = taps_of(axis_of(pyramid, rois, one, 0), rois.bins, starts, taps_.data() + room_y);
    one.x = taps_of(axis_of(pyramid, rois, one, 1), rois.bins, starts + rois.bins + 1, taps_.data() + room_x);
  }

  static RoiTaps<T> taps_of(const RoiAxis<T>& axis, int64_t bins, int32_t* starts, RoiTap<T>* taps) {
    RoiTaps<T> result{starts, taps, 0, 0};
    RoiTap<T>* end = taps;
    for (int32_t bin = 0; bin < bins; ++bin) {
      starts[bin] = (int32_t)(end - taps);
      end = bin_taps(axis, bin, end);
    }
    starts[bins] = (int32_t)(end - taps);
    for (const RoiTap<T>* tap = taps; tap < end; ++tap) {
      result.first = tap == taps ? tap->pixel : std::min(result.first, tap->pixel);
      result.end = std::max(result.end, tap->pixel + 1);
    }
    return result;
  }

  // Samples come in order of their pixels, so that a pixel that is there already is one of the last two.
  static RoiTap<T>* bin_taps(const RoiAxis<T>& axis, int32_t bin, RoiTap<T>* begin) {
    RoiTap<T>* end = begin;
    T part = T(1) / (T)std::max(axis.samples, 1);
    auto add = [&](int32_t pixel, T weight) {
      for (RoiTap<T>* tap = end; tap > begin && tap > end - 2;)
        if ((--tap)->pixel == pixel) return (void)(tap->weight += weight);
      *end++ = {pixel, weight};
    };
    RoiSample<T> sample;
    for (int32_t number = 0; number < axis.samples; ++number)
      if (take_sample(axis, bin, number, &sample)) {
        add(sample.near, sample.near_share * part);
        add(sample.far, sample.far_share * part);
      }
    return end;
  }

  std::vector<PlannedRoi<T>> planned_;
  std::vector<RoiGroup> groups_;
  std::vector<int32_t> starts_;
  std::vector<RoiTap<T>> taps_;
};

// Whether a pixel's channels are neighbours in every level.
template <class T>
bool channels_together(const RoiPyramid<T>& pyramid) {
  bool together = pyramid.channels > 1;
  for (int64_t i = 0; i < pyramid.levels; ++i) together = together && pyramid.level[i].channel_stride == 1;
  return together;
}

// Work cut into a few slots, each with memory of its own, since the bodies of parallel_for allocate nothing.
template <class T>
class Scratch {
 public:
  Scratch(int64_t items, int64_t size)
      : slots_(std::max<int64_t>(1, std::min(items, 4 * thread_count()))), items_(items), size_(size) {
    values_.resize(slots_ * size);
  }

  // body(begin, end, memory) over all items.
  template <class Body>
  void run(const Body& body) {
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot)
        body(items_ * slot / slots_, items_ * (slot + 1) / slots_, values_.data() + slot * size_);
    });
  }

 private:
  int64_t slots_, items_, size_;
  std::vector<T> values_;
};

}  // namespace kernels
