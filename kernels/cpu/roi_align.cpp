// See roi_align.h. Where a pixel's channels are neighbours, vectors hold channels and threads take RoIs; elsewhere
// threads take blocks of planes (roi_planes.h), which stay in the caches for all RoIs.
#include "../include/roi_align.h"

#include <new>

#include "roi_planes.h"

namespace kernels {
namespace {

constexpr int kVectors = 8;  // whose sums stay in registers

// All samples of one bin of `kVectors` vectors of channels.
template <class T>
inline void sum_bin(const RoiLevel<const T>& level, const T* image, const PlannedRoi<T>& one, int64_t by, int64_t bx,
                    T* sums) {
  constexpr std::make_integer_sequence<int, kVectors> all;
  Vector<T> vectors[kVectors] = {};
  for (const RoiTap<T>* y = one.y.begin_of(by); y < one.y.end_of(by); ++y)
    for (const RoiTap<T>* x = one.x.begin_of(bx); x < one.x.end_of(bx); ++x) {
      const T* pixel = image + y->pixel * level.row_stride + x->pixel * level.column_stride;
      add_products<T>(vectors, y->weight * x->weight, pixel, all);
    }
  memcpy(sums, vectors, sizeof vectors);
}

// The same for fewer channels.
template <class T>
inline void sum_bin(const RoiLevel<const T>& level, const T* image, const PlannedRoi<T>& one, int64_t by, int64_t bx,
                    int64_t channels, T* __restrict__ sums) {
  for (int64_t c = 0; c < channels; ++c) sums[c] = 0;
  for (const RoiTap<T>* y = one.y.begin_of(by); y < one.y.end_of(by); ++y)
    for (const RoiTap<T>* x = one.x.begin_of(bx); x < one.x.end_of(bx); ++x) {
      const T* __restrict__ pixel = image + y->pixel * level.row_stride + x->pixel * level.column_stride;
      T weight = y->weight * x->weight;
      for (int64_t c = 0; c < channels; ++c) sums[c] += weight * pixel[c];
    }
}

template <class T>
void pool_together(const RoiPyramid<const T>& pyramid, const Rois<T>& rois, const PlannedRoi<T>& one, T* out) {
  constexpr int64_t most = kVectors * Lanes<T>::count;
  const RoiLevel<const T>& level = pyramid.level[one.level];
  alignas(32) T sums[most];
  for (int64_t bin = 0; bin < rois.bins * rois.bins; ++bin)
    for (int64_t first = 0; first < pyramid.channels; first += most) {
      const T* image = level.values + one.image * level.image_stride + first;
      int64_t channels = std::min(most, pyramid.channels - first), by = bin / rois.bins, bx = bin % rois.bins;
      if (channels == most) sum_bin(level, image, one, by, bx, sums);
      else sum_bin(level, image, one, by, bx, channels, sums);
      T* to = out + one.roi * rois.roi_stride + first * rois.channel_stride + bin * rois.bin_stride;
      for (int64_t c = 0; c < channels; ++c) to[c * rois.channel_stride] = sums[c];
    }
}

// Sums over the rows of one bin, turned: rows[column][channel].
template <bool whole, class T>
void sum_rows(const PlaneBlock<const T>& block, const RoiTap<T>* begin, const RoiTap<T>* end, const ColumnRange& range,
              T* rows) {
  constexpr int64_t lanes = Lanes<T>::count;
  for (int64_t x = 0; x < range.count; x += lanes) {
    int64_t at = vector_start<whole>(x, range.count, lanes), some = std::min(lanes, range.count - at);
    Vector<T> sums[lanes];
    for (int64_t c = 0; c < lanes; ++c) {
      const T* from = block.plane[c] + (range.first + at) * block.column_stride;
      Vector<T> sum{}, pixels{};
      for (const RoiTap<T>* y = begin; y < end; ++y) {
        const T* row = from + y->pixel * block.row_stride;
        if constexpr (whole) load<T>(pixels, row);
        else
          for (int64_t i = 0; i < some; ++i) pixels[i] = row[i * block.column_stride];
        sum += y->weight * pixels;
      }
      sums[c] = sum;
    }
    transpose<T>(sums);
    memcpy(rows + at * lanes, sums, sizeof sums);
  }
}

// The tile [bin][channel] to where the RoI's channels stand.
template <class T>
void write_tile(const T* tile, const Rois<T>& rois, int64_t channels, T* out) {
  constexpr int64_t lanes = Lanes<T>::count;
  int64_t area = rois.bins * rois.bins;
  if (rois.bin_stride != 1 || area < lanes) {
    for (int64_t bin = 0; bin < area; ++bin)
      for (int64_t c = 0; c < channels; ++c)
        out[bin * rois.bin_stride + c * rois.channel_stride] = tile[bin * lanes + c];
    return;
  }
  for (int64_t bin = 0; bin < area; bin += lanes) {
    int64_t at = vector_start<true>(bin, area, lanes);
    Vector<T> block[lanes];
    memcpy(block, tile + at * lanes, sizeof block);
    transpose<T>(block);
    for (int64_t c = 0; c < channels; ++c) store<T>(block[c], out + c * rois.channel_stride + at);
  }
}

template <class T>
void pool_block(const PlaneBlock<const T>& block, const Rois<T>& rois, const PlannedRoi<T>& one, PlaneRoom<T> room,
                T* out) {
  constexpr int64_t lanes = Lanes<T>::count;
  ColumnRange range(one.x.first, one.x.end, block.columns, lanes);
  T* to = room.tile;
  for (int64_t by = 0; by < rois.bins; ++by) {
    const RoiTap<T>*begin = one.y.begin_of(by), *end = one.y.end_of(by);
    if (block.whole()) sum_rows<true>(block, begin, end, range, room.rows);
    else sum_rows<false>(block, begin, end, range, room.rows);
    for (int64_t bx = 0; bx < rois.bins; ++bx, to += lanes) {
      Vector<T> sum{}, column;
      for (const RoiTap<T>* x = one.x.begin_of(bx); x < one.x.end_of(bx); ++x) {
        load<T>(column, room.rows + (x->pixel - range.first) * lanes);
        sum += x->weight * column;
      }
      store<T>(sum, to);
    }
  }
  write_tile(room.tile, rois, block.channels, out);
}

template <class T>
void pool_planes(const RoiPyramid<const T>& pyramid, const Rois<T>& rois, const RoiPlan<T>& plan, T* out) {
  constexpr int64_t lanes = Lanes<T>::count;
  int64_t widest = widest_level(pyramid), blocks = ceil_div(pyramid.channels, lanes);
  // few channels: RoIs are split among threads too
  int64_t parts = std::max<int64_t>(1, std::min(ceil_div(4 * thread_count(), blocks), plan.count()));
  Scratch<T> scratch(blocks * parts, PlaneRoom<T>::size(widest, rois.bins * rois.bins));
  scratch.run([&](int64_t begin, int64_t end, T* memory) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t first = item / parts * lanes, part = item % parts;
      for (int64_t i = plan.count() * part / parts; i < plan.count() * (part + 1) / parts; ++i) {
        PlaneBlock<const T> block(pyramid.level[plan[i].level], plan[i].image, first, pyramid.channels);
        T* to = out + plan[i].roi * rois.roi_stride + first * rois.channel_stride;
        pool_block(block, rois, plan[i], PlaneRoom<T>(memory, widest), to);
      }
    }
  });
}

template <class T>
int pool(const void* const* features_L, const RoiCall& call, T* out) {
  RoiPyramid<const T> pyramid = roi_pyramid<const T>(features_L, call);
  Rois<T> rois = typed_rois<T>(call);
  RoiPlan<T> plan(pyramid, rois);
  for (int64_t r = 0; r < rois.rois && plan.count() < rois.rois; ++r)
    if (!has_features(pyramid, rois, r)) std::fill_n(out + r * rois.roi_stride, rois.roi_stride, T(0));
  if (channels_together(pyramid))
    parallel_for(plan.count(), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) pool_together(pyramid, rois, plan[i], out);
    });
  else pool_planes(pyramid, rois, plan, out);
  return 0;
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(roi_align)(const void* const* features_L, const int64_t* shapes_L2, const int64_t* strides_L4,
                                 const double* scales_L, int64_t levels, int64_t images, int64_t channels, int32_t type,
                                 const void* rois_R4, const int32_t* images_R, const int32_t* levels_R, int64_t rois,
                                 int64_t bins, int64_t ratio, int32_t aligned, double min_side, int32_t channels_last,
                                 void* out, void*) try {
  using namespace kernels;
  RoiCall call{shapes_L2, strides_L4, scales_L, levels, images, channels, type,     rois_R4,
               images_R,  levels_R,   rois,     bins,   ratio,  aligned,  min_side, channels_last};
  if (!allowed(call)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || channels == 0) return 0;
  return type == KERNEL_FLOAT32 ? pool(features_L, call, (float*)out) : pool(features_L, call, (double*)out);
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
