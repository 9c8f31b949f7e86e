// Helpers of the launchers in cuda/: grids within a device's limits; kernels stride over what a grid does not cover.
#pragma once
#include "portable.h"

namespace kernels {

// Blocks along x for `count` items, `per_block` a block.
inline unsigned blocks_x(int64_t count, int64_t per_block) {
  int64_t wanted = ceil_div(count, per_block), most = 0x7fffffff;
  return (unsigned)(wanted < most ? wanted : most);
}

// Blocks along y or z, of which a device takes 65,535.
inline unsigned blocks_yz(int64_t count, int64_t per_block) {
  int64_t wanted = ceil_div(count, per_block), most = 65535;
  return (unsigned)(wanted < most ? wanted : most);
}

}  // namespace kernels
