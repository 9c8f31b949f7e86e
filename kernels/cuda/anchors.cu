// See anchors.h. A thread writes one coordinate, so that neighbours write neighbours; one launch a level, whose cells
// are the kernel's argument.
#include "../include/anchors.h"

#include "../shared/anchor_math.h"
#include "../shared/device.h"

namespace kernels {
namespace {

constexpr int kThreads = 256;

struct Level {
  double cells_C4[4 * kMaxCells];
  double step_y, step_x;
  int64_t columns, count;  // count: coordinates of all the level's anchors
  int c;
  float* anchors_N4;
};

__global__ void __launch_bounds__(kThreads) anchors_kernel(Level level) {
  int values = 4 * level.c;
  int64_t stride = (int64_t)gridDim.x * kThreads;
  for (int64_t i = (int64_t)blockIdx.x * kThreads + threadIdx.x; i < level.count; i += stride) {
    int64_t position = i / values;
    int value = (int)(i - position * values);
    int64_t row = position / level.columns, column = position - row * level.columns;
    double shift = value & 1 ? anchor_shift(row, level.step_y) : anchor_shift(column, level.step_x);
    level.anchors_N4[i] = anchor_coordinate(level.cells_C4[value], shift);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(anchor_cells)(int32_t convention, double stride, double size, const double* aspects_A2, int64_t a,
                                    int64_t octaves, double* cells_C4) {
  return kernels::make_cells(convention, stride, size, aspects_A2, a, octaves, cells_C4);
}

KERNEL_API int KERNEL(anchors)(const double* cells_LC4, int64_t levels, int64_t c, const int64_t* grids_L2,
                               const double* steps_L2, float* anchors_N4, void* stream) {
  using namespace kernels;
  if (!anchor_sizes_fit(levels, c, grids_L2)) return KERNEL_BAD_ARGUMENT;
  for (int64_t i = 0; i < levels; ++i) {
    int64_t rows = grids_L2[2 * i], columns = grids_L2[2 * i + 1], count = rows * columns * 4 * c;
    Level level = {{}, steps_L2[2 * i], steps_L2[2 * i + 1], columns, count, (int)c, anchors_N4};
    for (int64_t value = 0; value < 4 * c; ++value) level.cells_C4[value] = cells_LC4[4 * c * i + value];
    if (count > 0) LAUNCH(anchors_kernel, blocks_x(count, kThreads), kThreads, 0, stream, level);
    anchors_N4 += count;
  }
  return LAUNCHED();
}
