// See anchors.h. Rows of all levels are shared out among the threads.
#include "../include/anchors.h"

#include <new>

#include "../shared/anchor_math.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int64_t kValuesPerPiece = 1 << 16;

void fill_row(const double* cells_C4, int64_t c, int64_t row, int64_t columns, const double* step_2, float* out) {
  int values = (int)(4 * c);
  double y = anchor_shift(row, step_2[0]);
  for (int64_t column = 0; column < columns; ++column, out += values) {
    double x = anchor_shift(column, step_2[1]);
#pragma GCC ivdep
    for (int i = 0; i < values; ++i) out[i] = anchor_coordinate(cells_C4[i], i & 1 ? y : x);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(anchor_cells)(int32_t convention, double stride, double size, const double* aspects_A2, int64_t a,
                                    int64_t octaves, double* cells_C4) {
  return kernels::make_cells(convention, stride, size, aspects_A2, a, octaves, cells_C4);
}

KERNEL_API int KERNEL(anchors)(const double* cells_LC4, int64_t levels, int64_t c, const int64_t* grids_L2,
                               const double* steps_L2, float* anchors_N4, void*) try {
  using namespace kernels;
  if (!anchor_sizes_fit(levels, c, grids_L2)) return KERNEL_BAD_ARGUMENT;
  for (int64_t level = 0; level < levels; ++level) {
    int64_t rows = grids_L2[2 * level], columns = grids_L2[2 * level + 1], row_values = 4 * c * columns;
    parallel_for(rows, 1 + kValuesPerPiece / (row_values + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        fill_row(cells_LC4 + 4 * c * level, c, row, columns, steps_L2 + 2 * level, anchors_N4 + row * row_values);
    });
    anchors_N4 += rows * row_values;
  }
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
