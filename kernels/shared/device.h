// Helpers of the launchers in cuda/: grids within a device's limits; kernels stride over what a grid does not cover.
#pragma once
#include "portable.h"

namespace kernels {

// A limit of a grid. Builds for tests define a low one, so that kernels stride over small inputs.
constexpr int64_t grid_limit(int64_t most) {
#if defined(KERNEL_GRID_LIMIT)
  return most < KERNEL_GRID_LIMIT ? most : KERNEL_GRID_LIMIT;
#else
  return most;
#endif
}

// Blocks along x for `count` items, `per_block` a block.
inline unsigned blocks_x(int64_t count, int64_t per_block) {
  int64_t wanted = ceil_div(count, per_block), most = 0x7fffffff;
  return (unsigned)(wanted < most ? wanted : most);
}

// Blocks along y or z, of which a device takes 65,535.
inline unsigned blocks_yz(int64_t count, int64_t per_block) {
  int64_t wanted = ceil_div(count, per_block), most = grid_limit(65535);
  return (unsigned)(wanted < most ? wanted : most);
}

}  // namespace kernels
