// RoIAlign where channels stand in planes: as many channels at once as a vector has lanes. Rows are read along their
// pixels, and turned so that sums over columns have one channel a lane.
#pragma once
#include <algorithm>

#include "roi_plan.h"
#include "vectors.h"

namespace kernels {

// A few channels of one image and level. U is const where features are read; missing channels repeat the last.
template <class U>
struct PlaneBlock {
  static constexpr int lanes = Lanes<typename std::remove_const<U>::type>::count;
  U* plane[lanes];
  int64_t channels, row_stride, column_stride, columns;

  PlaneBlock(const RoiLevel<U>& level, int64_t image, int64_t first, int64_t all)
      : channels(std::min<int64_t>(lanes, all - first)),
        row_stride(level.row_stride),
        column_stride(level.column_stride),
        columns(level.columns) {
    for (int64_t c = 0; c < lanes; ++c)
      plane[c] = level.values + image * level.image_stride + (first + std::min(c, channels - 1)) * level.channel_stride;
  }

  // Whether vectors may be read and written in one piece.
  bool whole() const { return column_stride == 1 && columns >= lanes; }
};

// Columns that an RoI reads, widened to a vector's length where the level is that wide.
struct ColumnRange {
  int64_t first, count;

  ColumnRange(int64_t from, int64_t end, int64_t columns, int64_t lanes) {
    count = std::min(std::max(end - from, lanes), columns);
    first = std::min(from, columns - count);
  }
};

// Values that a block of channels needs beside the features: rows, then all bins, a vector for each place.
template <class T>
struct PlaneRoom {
  T *rows, *tile;

  static int64_t size(int64_t widest, int64_t area) { return (widest + Lanes<T>::count + area) * Lanes<T>::count; }
  PlaneRoom(T* memory, int64_t widest) : rows(memory), tile(memory + (widest + Lanes<T>::count) * Lanes<T>::count) {}
};

template <class T>
int64_t widest_level(const RoiPyramid<T>& pyramid) {
  int64_t widest = 0;
  for (int64_t i = 0; i < pyramid.levels; ++i) widest = std::max(widest, pyramid.level[i].columns);
  return widest;
}

// Where the vector that covers columns from `x` on begins: the last one ends with the range.
template <bool whole>
inline int64_t vector_start(int64_t x, int64_t count, int64_t lanes) {
  return whole ? std::min(x, count - lanes) : x;
}

}  // namespace kernels
