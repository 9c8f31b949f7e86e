// A few hundred boxes as columns on the stack, small enough to stay in the nearest cache while many others meet them.
#pragma once
#include <stdint.h>

#include "../shared/box.h"

namespace kernels {

template <int kCapacity>
struct Tile {
  static constexpr int64_t capacity = kCapacity;

  alignas(64) float x1[kCapacity];
  alignas(64) float y1[kCapacity];
  alignas(64) float x2[kCapacity];
  alignas(64) float y2[kCapacity];
  alignas(64) float areas[kCapacity];
  int size;

  // The boxes from `first` on, as many as there are up to `n` and as fit.
  Tile(const float* boxes_N4, int64_t first, int64_t n, float one)
      : size((int)(n - first < kCapacity ? n - first : kCapacity)) {
    const float* at = boxes_N4 + 4 * first;
    for (int j = 0; j < size; ++j) {
      x1[j] = at[4 * j], y1[j] = at[4 * j + 1], x2[j] = at[4 * j + 2], y2[j] = at[4 * j + 3];
      areas[j] = area(box(j), one);
    }
  }

  Box box(int j) const { return {x1[j], y1[j], x2[j], y2[j]}; }
};

}  // namespace kernels
