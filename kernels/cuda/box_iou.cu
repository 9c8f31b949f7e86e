// See box_iou.h. A block fills 32 rows of 128 columns: its rows' boxes in shared memory, a column's in registers.
#include "../include/box_iou.h"

#include "../shared/box.h"
#include "../shared/device.h"

namespace kernels {
namespace {

constexpr int kRows = 32, kColumns = 128;

__global__ void __launch_bounds__(kColumns)
    box_iou_kernel(const float* __restrict__ left_M4, int64_t m, const float* __restrict__ right_N4, int64_t n,
                   float one, float* __restrict__ iou_MN) {
  SHARED(Box, box, kRows);
  SHARED(float, box_area, kRows);
  int64_t column = (int64_t)blockIdx.x * kColumns + threadIdx.x;
  for (int64_t first = (int64_t)blockIdx.y * kRows; first < m; first += (int64_t)gridDim.y * kRows) {
    int rows = m - first < kRows ? (int)(m - first) : kRows;
    if ((int)threadIdx.x < rows) {
      box[threadIdx.x] = load_box(left_M4, first + threadIdx.x);
      box_area[threadIdx.x] = area(box[threadIdx.x], one);
    }
    __syncthreads();
    if (column < n) {
      Box other = load_box(right_N4, column);
      float other_area = area(other, one);
      for (int row = 0; row < rows; ++row)
        iou_MN[(first + row) * n + column] = iou(box[row], box_area[row], other, other_area, one);
    }
    __syncthreads();
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(box_iou)(const float* left_M4, int64_t m, const float* right_N4, int64_t n, float one,
                               float* iou_MN, void* stream) {
  using namespace kernels;
  if (m < 0 || n < 0) return KERNEL_BAD_ARGUMENT;
  if (m == 0 || n == 0) return 0;
  dim3 grid(blocks_x(n, kColumns), blocks_yz(m, kRows));
  LAUNCH(box_iou_kernel, grid, kColumns, 0, stream, left_M4, m, right_N4, n, one, iou_MN);
  return LAUNCHED();
}
