// See roi_align.h. A block takes one RoI, and a thread an element of what is pooled, channels or bins fastest as the
// features have them. Backward adds by atomics, in no fixed order.
#include "../include/roi_align.h"

#include "../shared/device.h"
#include "../shared/roi.h"

namespace kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kElementsPerThread = 4;

// The element of an RoI that a thread works on.
struct RoiElement {
  int channel, bin_y, bin_x;
};

__device__ __forceinline__ RoiElement element_at(unsigned number, unsigned channels, unsigned bins, bool channels_first) {
  unsigned area = bins * bins;
  unsigned channel = channels_first ? number % channels : number / area;
  unsigned bin = channels_first ? number / channels : number % area;
  return {(int)channel, (int)(bin / bins), (int)(bin % bins)};
}

// An RoI on its level; `plane` is where its image begins.
template <class T, class U>
struct RoiOnLevel {
  RoiAxis<T> y, x;
  U* plane;
  int64_t channel_stride, row_stride, column_stride;
};

template <class T, class U>
__device__ __forceinline__ RoiOnLevel<T, U> roi_on_level(const RoiPyramid<U>& pyramid, const Rois<T>& rois, int64_t roi) {
  const RoiLevel<U>& level = pyramid.level[rois.levels_R[roi]];
  const T* box = rois.rois_R4 + 4 * roi;
  return {roi_axis(rois, box[1], box[3], level.scale, level.rows),
          roi_axis(rois, box[0], box[2], level.scale, level.columns),
          level.values + rois.images_R[roi] * level.image_stride,
          level.channel_stride,
          level.row_stride,
          level.column_stride};
}

// Calls visit(pixel's place, its weight) for the four pixels of each sample of a bin.
template <class T, class U, class Visit>
__device__ __forceinline__ void visit_bin(const RoiOnLevel<T, U>& on, const RoiElement& element, Visit visit) {
  U* plane = on.plane + element.channel * on.channel_stride;
  RoiSample<T> y, x;
  for (int i = 0; i < on.y.samples; ++i) {
    if (!take_sample(on.y, element.bin_y, i, &y)) continue;
    U *near = plane + y.near * on.row_stride, *far = plane + y.far * on.row_stride;
    for (int j = 0; j < on.x.samples; ++j) {
      if (!take_sample(on.x, element.bin_x, j, &x)) continue;
      visit(near + x.near * on.column_stride, y.near_share * x.near_share);
      visit(near + x.far * on.column_stride, y.near_share * x.far_share);
      visit(far + x.near * on.column_stride, y.far_share * x.near_share);
      visit(far + x.far * on.column_stride, y.far_share * x.far_share);
    }
  }
}

template <class T, class U>
__device__ __forceinline__ T sample_count(const RoiOnLevel<T, U>& on) {
  int count = on.y.samples * on.x.samples;
  return (T)(count > 0 ? count : 1);
}

template <class T>
__device__ __forceinline__ int64_t place_of(const Rois<T>& rois, int64_t roi, const RoiElement& element) {
  return roi * rois.roi_stride + element.channel * rois.channel_stride +
         (element.bin_y * rois.bins + element.bin_x) * rois.bin_stride;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    roi_align_kernel(RoiPyramid<const T> pyramid, Rois<T> rois, bool channels_first, T* __restrict__ out) {
  unsigned first = blockIdx.y * kThreads + threadIdx.x, step = gridDim.y * kThreads;
  for (int64_t roi = blockIdx.x; roi < rois.rois; roi += gridDim.x) {
    bool there = has_features(pyramid, rois, roi);
    RoiOnLevel<T, const T> on{};
    if (there) on = roi_on_level<T, const T>(pyramid, rois, roi);
    for (unsigned i = first; i < (unsigned)rois.roi_stride; i += step) {
      RoiElement element = element_at(i, (unsigned)pyramid.channels, (unsigned)rois.bins, channels_first);
      T sum = 0;
      if (there) visit_bin(on, element, [&sum](const T* pixel, T weight) { sum += weight * *pixel; });
      out[place_of(rois, roi, element)] = there ? sum / sample_count(on) : T(0);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    roi_align_backward_kernel(RoiPyramid<T> pyramid, Rois<T> rois, bool channels_first,
                              const T* __restrict__ upstream) {
  unsigned first = blockIdx.y * kThreads + threadIdx.x, step = gridDim.y * kThreads;
  for (int64_t roi = blockIdx.x; roi < rois.rois; roi += gridDim.x) {
    if (!has_features(pyramid, rois, roi)) continue;
    RoiOnLevel<T, T> on = roi_on_level<T, T>(pyramid, rois, roi);
    for (unsigned i = first; i < (unsigned)rois.roi_stride; i += step) {
      RoiElement element = element_at(i, (unsigned)pyramid.channels, (unsigned)rois.bins, channels_first);
      T gradient = upstream[place_of(rois, roi, element)] / sample_count(on);
      visit_bin(on, element, [gradient](T* pixel, T weight) { atomicAdd(pixel, weight * gradient); });
    }
  }
}

// Whether neighbouring threads take neighbouring channels.
bool channels_first(const RoiCall& call) {
  return call.levels ? call.channels > 1 && call.strides_L4[1] == 1 : call.channels_last != 0;
}

template <class T>
dim3 grid_of(const Rois<T>& rois) {
  return dim3(blocks_x(rois.rois, 1), blocks_yz(rois.roi_stride, kThreads * kElementsPerThread));
}

template <class T>
int pool(const void* const* features_L, const RoiCall& call, T* out, void* stream) {
  RoiPyramid<const T> pyramid = roi_pyramid<const T>(features_L, call);
  Rois<T> rois = typed_rois<T>(call);
  LAUNCH(roi_align_kernel<T>, grid_of(rois), kThreads, 0, stream, pyramid, rois, channels_first(call), out);
  return LAUNCHED();
}

template <class T>
int spread(void* const* gradients_L, const RoiCall& call, const T* upstream, void* stream) {
  RoiPyramid<T> pyramid = roi_pyramid<T>(gradients_L, call);
  Rois<T> rois = typed_rois<T>(call);
  LAUNCH(roi_align_backward_kernel<T>, grid_of(rois), kThreads, 0, stream, pyramid, rois, channels_first(call), upstream);
  return LAUNCHED();
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(roi_align)(const void* const* features_L, const int64_t* shapes_L2, const int64_t* strides_L4,
                                 const double* scales_L, int64_t levels, int64_t images, int64_t channels, int32_t type,
                                 const void* rois_R4, const int32_t* images_R, const int32_t* levels_R, int64_t rois,
                                 int64_t bins, int64_t ratio, int32_t aligned, double min_side, int32_t channels_last,
                                 void* out, void* stream) {
  using namespace kernels;
  RoiCall call{shapes_L2, strides_L4, scales_L, levels, images, channels, type,     rois_R4,
               images_R,  levels_R,   rois,     bins,   ratio,  aligned,  min_side, channels_last};
  if (!allowed(call)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || channels == 0) return 0;
  return type == KERNEL_FLOAT32 ? pool(features_L, call, (float*)out, stream)
                                : pool(features_L, call, (double*)out, stream);
}

KERNEL_API int KERNEL(roi_align_backward)(void* const* gradients_L, const int64_t* shapes_L2,
                                          const int64_t* strides_L4, const double* scales_L, int64_t levels,
                                          int64_t images, int64_t channels, int32_t type, const void* rois_R4,
                                          const int32_t* images_R, const int32_t* levels_R, int64_t rois, int64_t bins,
                                          int64_t ratio, int32_t aligned, double min_side, int32_t channels_last,
                                          const void* upstream, void* stream) {
  using namespace kernels;
  RoiCall call{shapes_L2, strides_L4, scales_L, levels, images, channels, type,     rois_R4,
               images_R,  levels_R,   rois,     bins,   ratio,  aligned,  min_side, channels_last};
  if (!allowed(call)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || channels == 0) return 0;
  return type == KERNEL_FLOAT32 ? spread(gradients_L, call, (const float*)upstream, stream)
                                : spread(gradients_L, call, (const double*)upstream, stream);
}
