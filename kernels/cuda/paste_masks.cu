// See paste_masks.h. The images are cleared as one piece of memory; then blocks write the pixels of boxes alone.
#include "../include/paste_masks.h"

#include "../shared/device.h"
#include "../shared/paste.h"

namespace kernels {
namespace {

constexpr int kThreads = 128, kBands = 32;  // bands: blocks that share a box's rows

struct Image {
  int height, width;
};

// The mask with its border of zeros.
__device__ float bordered(const float* mask_SS, int side, int row, int column) {
  bool within = row > 0 && column > 0 && row <= side && column <= side;
  return within ? mask_SS[(int64_t)(row - 1) * side + column - 1] : 0.f;
}

__device__ float value_at(const float* mask_SS, int side, Tap row, Tap column) {
  const int i = row.index, j = column.index;
  float upper = between(bordered(mask_SS, side, i, j), bordered(mask_SS, side, i, j + 1), column.part);
  float lower = between(bordered(mask_SS, side, i + 1, j), bordered(mask_SS, side, i + 1, j + 1), column.part);
  return between(upper, lower, row.part);
}

__device__ void paste_rows(const float* mask_SS, int side, const float* box_4, Image image, float threshold,
                           uint8_t* pasted_HW) {
  Span columns = span_of(box_4[0], box_4[2], side, image.width);
  Span rows = span_of(box_4[1], box_4[3], side, image.height);
  for (int y = rows.begin + (int)blockIdx.y; y < rows.end; y += gridDim.y) {
    Tap row = rows.tap(y);
    for (int x = columns.begin + (int)threadIdx.x; x < columns.end; x += kThreads)
      pasted_HW[(int64_t)y * image.width + x] = value_at(mask_SS, side, row, columns.tap(x)) > threshold;
  }
}

__global__ void __launch_bounds__(kThreads)
    paste_masks_kernel(const float* __restrict__ masks_NSS, int64_t n, int side, const float* __restrict__ boxes_N4,
                       Image image, float threshold, uint8_t* __restrict__ pasted_NHW) {
  int64_t pixels = (int64_t)image.height * image.width;
  for (int64_t i = blockIdx.x; i < n; i += gridDim.x)
    paste_rows(masks_NSS + i * side * side, side, boxes_N4 + 4 * i, image, threshold, pasted_NHW + i * pixels);
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(paste_masks)(const float* masks_NSS, int64_t n, int64_t side, const float* boxes_N4,
                                   int64_t height, int64_t width, float threshold, uint8_t* pasted_NHW, void* stream) {
  using namespace kernels;
  if (!takes_masks(n, side, height, width)) return KERNEL_BAD_ARGUMENT;
  if (n == 0 || height == 0 || width == 0) return 0;
  int error = (int)cudaMemsetAsync(pasted_NHW, 0.f > threshold, (size_t)(n * height * width), (cudaStream_t)stream);
  if (error) return error;
  dim3 grid(blocks_x(n, 1), blocks_yz(height, ceil_div(height, kBands)));
  LAUNCH(paste_masks_kernel, grid, kThreads, 0, stream, masks_NSS, n, (int)side, boxes_N4,
         Image{(int)height, (int)width}, threshold, pasted_NHW);
  return LAUNCHED();
}
