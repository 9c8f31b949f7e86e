// See roi_align.h. No two threads add to one pixel's channel, and each adds in the RoIs' order: the sums do not depend on
// the number of threads. Vectors are as in roi_align.cpp.
#include "../include/roi_align.h"

#include <new>

#include "roi_planes.h"

namespace kernels {
namespace {

constexpr int64_t kLine = 16;  // channels that threads share no cache line for

template <class T>
inline void add_bin(const RoiLevel<T>& level, T* image, const PlannedRoi<T>& one, int64_t by, int64_t bx,
                    int64_t channels, const T* __restrict__ upstream) {
  for (const RoiTap<T>* y = one.y.begin_of(by); y < one.y.end_of(by); ++y)
    for (const RoiTap<T>* x = one.x.begin_of(bx); x < one.x.end_of(bx); ++x) {
      T* __restrict__ pixel = image + y->pixel * level.row_stride + x->pixel * level.column_stride;
      T weight = y->weight * x->weight;
      for (int64_t c = 0; c < channels; ++c) pixel[c] += weight * upstream[c];
    }
}

// Channels first..end-1 of one RoI. gathered: room for them.
template <class T>
void spread_together(const RoiPyramid<T>& pyramid, const Rois<T>& rois, const PlannedRoi<T>& one, int64_t first,
                     int64_t end, const T* upstream, T* gathered) {
  const RoiLevel<T>& level = pyramid.level[one.level];
  T* image = level.values + one.image * level.image_stride + first;
  for (int64_t bin = 0; bin < rois.bins * rois.bins; ++bin) {
    const T* from = upstream + one.roi * rois.roi_stride + first * rois.channel_stride + bin * rois.bin_stride;
    for (int64_t c = 0; c < end - first; ++c) gathered[c] = from[c * rois.channel_stride];
    add_bin(level, image, one, bin / rois.bins, bin % rois.bins, end - first, gathered);
  }
}

template <class T>
void spread_channels(const RoiPyramid<T>& pyramid, const Rois<T>& rois, const RoiPlan<T>& plan, const T* upstream) {
  int64_t groups = (int64_t)plan.groups().size(), channels = pyramid.channels;
  int64_t size = ceil_div(ceil_div(channels, thread_count()), kLine) * kLine, parts = ceil_div(channels, size);
  Scratch<T> scratch(groups * parts, size);
  scratch.run([&](int64_t begin, int64_t end, T* gathered) {
    for (int64_t item = begin; item < end; ++item) {
      const RoiGroup& group = plan.groups()[item % groups];
      int64_t first = item / groups * size, last = std::min(first + size, channels);
      for (int64_t i = group.begin; i < group.end; ++i)
        spread_together(pyramid, rois, plan[i], first, last, upstream, gathered);
    }
  });
}

// Adds rows[column][channel], turned, to the rows that one bin's samples fall on.
template <bool whole, class T>
void add_rows(const PlaneBlock<T>& block, const RoiTap<T>* begin, const RoiTap<T>* end, const ColumnRange& range,
              T* rows) {
  constexpr int64_t lanes = Lanes<T>::count;
  for (int64_t x = 0; x < range.count; x += lanes) {
    int64_t at = vector_start<whole>(x, range.count, lanes), some = std::min(lanes, range.count - at);
    Vector<T> sums[lanes];
    memcpy(sums, rows + at * lanes, sizeof sums);
    // the columns that the vector before covered too are added once
    if (at < x) std::fill_n(sums, x - at, Vector<T>{});
    transpose<T>(sums);
    for (int64_t c = 0; c < block.channels; ++c) {
      T* to = block.plane[c] + (range.first + at) * block.column_stride;
      for (const RoiTap<T>* y = begin; y < end; ++y) {
        T* row = to + y->pixel * block.row_stride;
        Vector<T> pixels{}, sum = y->weight * sums[c];
        if constexpr (whole) {
          load<T>(pixels, row);
          store<T>(pixels + sum, row);
        } else {
          for (int64_t i = 0; i < some; ++i) row[i * block.column_stride] += sum[i];
        }
      }
    }
  }
}

// The tile [bin][channel] from where the RoI's channels stand; missing channels are 0.
template <class T>
void read_tile(const T* upstream, const Rois<T>& rois, int64_t channels, T* tile) {
  constexpr int64_t lanes = Lanes<T>::count;
  int64_t area = rois.bins * rois.bins;
  if (rois.bin_stride != 1 || area < lanes) {
    for (int64_t bin = 0; bin < area; ++bin)
      for (int64_t c = 0; c < lanes; ++c)
        tile[bin * lanes + c] = c < channels ? upstream[bin * rois.bin_stride + c * rois.channel_stride] : T(0);
    return;
  }
  for (int64_t bin = 0; bin < area; bin += lanes) {
    int64_t at = vector_start<true>(bin, area, lanes);
    Vector<T> block[lanes] = {};
    for (int64_t c = 0; c < channels; ++c) load<T>(block[c], upstream + c * rois.channel_stride + at);
    transpose<T>(block);
    memcpy(tile + at * lanes, block, sizeof block);
  }
}

template <class T>
void spread_block(const PlaneBlock<T>& block, const Rois<T>& rois, const PlannedRoi<T>& one, PlaneRoom<T> room,
                  const T* upstream) {
  constexpr int64_t lanes = Lanes<T>::count;
  ColumnRange range(one.x.first, one.x.end, block.columns, lanes);
  read_tile(upstream, rois, block.channels, room.tile);
  const T* from = room.tile;
  for (int64_t by = 0; by < rois.bins; ++by) {
    std::fill_n(room.rows, (range.count + lanes) * lanes, T(0));
    for (int64_t bx = 0; bx < rois.bins; ++bx, from += lanes) {
      Vector<T> gradient, column;
      load<T>(gradient, from);
      for (const RoiTap<T>* x = one.x.begin_of(bx); x < one.x.end_of(bx); ++x) {
        T* to = room.rows + (x->pixel - range.first) * lanes;
        load<T>(column, to);
        store<T>(column + x->weight * gradient, to);
      }
    }
    const RoiTap<T>*begin = one.y.begin_of(by), *end = one.y.end_of(by);
    if (block.whole()) add_rows<true>(block, begin, end, range, room.rows);
    else add_rows<false>(block, begin, end, range, room.rows);
  }
}

template <class T>
void spread_planes(const RoiPyramid<T>& pyramid, const Rois<T>& rois, const RoiPlan<T>& plan, const T* upstream) {
  constexpr int64_t lanes = Lanes<T>::count;
  int64_t groups = (int64_t)plan.groups().size(), widest = widest_level(pyramid);
  Scratch<T> scratch(groups * ceil_div(pyramid.channels, lanes), PlaneRoom<T>::size(widest, rois.bins * rois.bins));
  scratch.run([&](int64_t begin, int64_t end, T* memory) {
    for (int64_t item = begin; item < end; ++item) {
      const RoiGroup& group = plan.groups()[item % groups];
      int64_t first = item / groups * lanes;
      const PlannedRoi<T>& any = plan[group.begin];
      PlaneBlock<T> block(pyramid.level[any.level], any.image, first, pyramid.channels);
      for (int64_t i = group.begin; i < group.end; ++i) {
        const T* from = upstream + plan[i].roi * rois.roi_stride + first * rois.channel_stride;
        spread_block(block, rois, plan[i], PlaneRoom<T>(memory, widest), from);
      }
    }
  });
}

template <class T>
int spread(void* const* gradients_L, const RoiCall& call, const T* upstream) {
  RoiPyramid<T> pyramid = roi_pyramid<T>(gradients_L, call);
  Rois<T> rois = typed_rois<T>(call);
  RoiPlan<T> plan(pyramid, rois);
  if (plan.count() == 0) return 0;
  if (channels_together(pyramid)) spread_channels(pyramid, rois, plan, upstream);
  else spread_planes(pyramid, rois, plan, upstream);
  return 0;
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(roi_align_backward)(void* const* gradients_L, const int64_t* shapes_L2,
                                          const int64_t* strides_L4, const double* scales_L, int64_t levels,
                                          int64_t images, int64_t channels, int32_t type, const void* rois_R4,
                                          const int32_t* images_R, const int32_t* levels_R, int64_t rois, int64_t bins,
                                          int64_t ratio, int32_t aligned, double min_side, int32_t channels_last,
                                          const void* upstream, void*) try {
  using namespace kernels;
  RoiCall call{shapes_L2, strides_L4, scales_L, levels, images, channels, type,     rois_R4,
               images_R,  levels_R,   rois,     bins,   ratio,  aligned,  min_side, channels_last};
  if (!allowed(call)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || channels == 0) return 0;
  return type == KERNEL_FLOAT32 ? spread(gradients_L, call, (const float*)upstream)
                                : spread(gradients_L, call, (const double*)upstream);
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
