// See box_iou.h. Tiles of the right boxes are turned into columns, so that the inner loop is one vector instruction a
// step; every left box meets a tile while it is in the cache.
#include "../include/box_iou.h"

#include <new>

#include "parallel.h"
#include "tile.h"

namespace kernels {
namespace {

constexpr int64_t kPairsPerPiece = 1 << 16;
using BoxTile = Tile<1024>;

void fill_row(const Box& box, const BoxTile& others, float one, float* iou_N) {
  float box_area = area(box, one);
#pragma GCC ivdep
  for (int j = 0; j < others.size; ++j) iou_N[j] = iou(box, box_area, others.box(j), others.areas[j], one);
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(box_iou)(const float* left_M4, int64_t m, const float* right_N4, int64_t n, float one,
                               float* iou_MN, void*) try {
  using namespace kernels;
  if (m < 0 || n < 0) return KERNEL_BAD_ARGUMENT;
  if (m == 0 || n == 0) return 0;
  int64_t tiles = ceil_div(n, BoxTile::capacity), grain = 1 + kPairsPerPiece / (m * BoxTile::capacity);
  parallel_for(tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      int64_t first = tile * BoxTile::capacity;
      BoxTile others(right_N4, first, n, one);
      for (int64_t i = 0; i < m; ++i) fill_row(load_box(left_M4, i), others, one, iou_MN + i * n + first);
    }
  });
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
