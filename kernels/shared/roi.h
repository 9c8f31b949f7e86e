// Where RoIAlign samples (roi_align.h), shared to the bit by CPU and device bodies; coordinates are rounded after each
// operation, in the order of torchvision's.
#pragma once
#include <cmath>

#include "../include/kernel.h"
#include "portable.h"

namespace kernels {

enum { kMaxRoiRatio = 4096, kMaxRoiBins = 1024 };

// The arguments that forward and backward share, in their order.
struct RoiCall {
  const int64_t* shapes_L2;
  const int64_t* strides_L4;
  const double* scales_L;
  int64_t levels, images, channels;
  int32_t type;
  const void* rois_R4;
  const int32_t* images_R;
  const int32_t* levels_R;
  int64_t rois, bins, ratio;
  int32_t aligned;
  double min_side;
  int32_t channels_last;
};

// T is const where features are read.
template <class T>
struct RoiLevel {
  T* values;
  int64_t rows, columns, image_stride, channel_stride, row_stride, column_stride;
  double scale;
};

template <class T>
struct RoiPyramid {
  RoiLevel<T> level[KERNEL_MAX_LEVELS];
  int64_t levels, images, channels;
};

template <class T>
struct Rois {
  const T* rois_R4;
  const int32_t* images_R;
  const int32_t* levels_R;
  int64_t rois, bins, ratio;
  T offset, min_side;
  int64_t roi_stride, channel_stride, bin_stride;  // of what is pooled
};

inline bool allowed(const RoiCall& call) {
  if (call.levels < 0 || call.levels > KERNEL_MAX_LEVELS || call.images < 0 || call.channels < 0 || call.rois < 0)
    return false;
  if (call.type != KERNEL_FLOAT32 && call.type != KERNEL_FLOAT64) return false;
  if (call.bins < 1 || call.bins > kMaxRoiBins || call.ratio < 0 || call.ratio > kMaxRoiRatio) return false;
  if (call.channels > 0x7fffffff / (call.bins * call.bins) || !(call.min_side >= 0)) return false;
  for (int64_t i = 0; i < 2 * call.levels; ++i)
    if (call.shapes_L2[i] < 0 || call.shapes_L2[i] > 0x7fffffff) return false;
  return true;
}

// Void is const void where T is const.
template <class T, class Void>
RoiPyramid<T> roi_pyramid(Void* const* features_L, const RoiCall& call) {
  RoiPyramid<T> pyramid{};
  pyramid.levels = call.levels, pyramid.images = call.images, pyramid.channels = call.channels;
  for (int64_t i = 0; i < call.levels; ++i) {
    const int64_t *shape = call.shapes_L2 + 2 * i, *stride = call.strides_L4 + 4 * i;
    pyramid.level[i] = {(T*)features_L[i], shape[0],  shape[1],  stride[0],
                        stride[1],         stride[2], stride[3], call.scales_L[i]};
  }
  return pyramid;
}

template <class T>
Rois<T> typed_rois(const RoiCall& call) {
  int64_t area = call.bins * call.bins;
  bool last = call.channels_last != 0;
  return {(const T*)call.rois_R4, call.images_R, call.levels_R,      call.rois,
          call.bins,              call.ratio,    call.aligned ? T(0.5) : T(0), (T)call.min_side,
          call.channels * area,   last ? 1 : area, last ? call.channels : 1};
}

// Whether an RoI has a level and an image; if not, it is 0.
template <class T, class U>
ON_BOTH bool has_features(const RoiPyramid<T>& pyramid, const Rois<U>& rois, int64_t roi) {
  int32_t level = rois.levels_R[roi], image = rois.images_R[roi];
  return level >= 0 && level < pyramid.levels && image >= 0 && image < pyramid.images;
}

// An RoI along one direction of its level.
template <class T>
struct RoiAxis {
  T start, bin;
  int32_t samples, length;  // samples of a bin; pixels of the level
};

// Two neighbouring pixels and their parts in a sample.
template <class T>
struct RoiSample {
  int32_t near, far;
  T near_share, far_share;
};

// near and far: the RoI's corners in image pixels.
template <class T>
ON_BOTH RoiAxis<T> roi_axis(const Rois<T>& rois, T near, T far, double scale, int64_t length) {
  T start = near * (T)scale - rois.offset, side = far * (T)scale - rois.offset - start;
  if (side < rois.min_side) side = rois.min_side;  // a side that is NaN stays so, and has no samples
  T bin = side / (T)rois.bins;
  if (rois.ratio > 0) return {start, bin, (int32_t)rois.ratio, (int32_t)length};
  T wanted = std::ceil(bin);
  int32_t samples = wanted < (T)kMaxRoiRatio ? (int32_t)wanted : (int32_t)kMaxRoiRatio;
  return {start, bin, wanted > 0 ? samples : 0, (int32_t)length};
}

// Sample `number` of bin `bin`; false if it is outside, where it is 0. Within a bin pixels never fall with the number.
template <class T>
ON_BOTH bool take_sample(const RoiAxis<T>& axis, int32_t bin, int32_t number, RoiSample<T>* sample) {
  T at = axis.start + (T)bin * axis.bin + ((T)number + T(0.5)) * axis.bin / (T)axis.samples;
  if (!(at >= T(-1) && at <= (T)axis.length) || axis.length < 1) return false;
  if (at < 0) at = 0;
  if (at >= (T)(axis.length - 1)) {
    *sample = {axis.length - 1, axis.length - 1, T(1), T(0)};
    return true;
  }
  int32_t near = (int32_t)at;
  T share = at - (T)near;
  *sample = {near, near + 1, T(1) - share, share};
  return true;
}

}  // namespace kernels
