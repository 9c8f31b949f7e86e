// A mask as the running sums of its run lengths, read without being decoded.
#pragma once
#include "crop.h"

namespace kernels {

struct Runs {
  const uint32_t* ends;  // where each run ends, down the columns; runs of zeros and of ones in turn
  int64_t count, height, width;
};

struct RunLists {
  const uint32_t* ends;
  const int64_t* object_starts;
  const int64_t* sizes_O2;
  int64_t objects;

  ON_BOTH Runs of(int64_t object) const {
    if (object < 0 || object >= objects) return {ends, 0, 0, 0};
    int64_t first = object_starts[object];
    return {ends + first, object_starts[object + 1] - first, sizes_O2[2 * object], sizes_O2[2 * object + 1]};
  }
};

// A place below `size` as it is, any other one as -1.
ON_BOTH int64_t inside(double place, int64_t size) { return place >= 0 && place < (double)size ? (int64_t)place : -1; }

// The first run, of `first` and those behind it, that ends after a pixel.
ON_BOTH int64_t run_of(const Runs& runs, int64_t first, int64_t pixel) {
  int64_t low = first, high = runs.count;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (runs.ends[middle] <= pixel)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace kernels
