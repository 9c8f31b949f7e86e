// See box_iou.h. The right boxes are turned into columns once, so that the inner loop is one vector instruction a step.
#include "../include/box_iou.h"

#include <new>

#include "../shared/box.h"
#include "columns.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int64_t kPairsPerPiece = 1 << 16;

void fill_row(const Box& box, const Columns& others, float one, float* iou_N) {
  float box_area = area(box, one);
#pragma GCC ivdep
  for (int64_t j = 0; j < others.size(); ++j) iou_N[j] = iou(box, box_area, others.box(j), others.area()[j], one);
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(box_iou)(const float* left_M4, int64_t m, const float* right_N4, int64_t n, float one,
                               float* iou_MN, void*) try {
  using namespace kernels;
  if (m < 0 || n < 0) return KERNEL_BAD_ARGUMENT;
  if (m == 0 || n == 0) return 0;
  Columns others(right_N4, n, one);
  parallel_for(m, 1 + kPairsPerPiece / n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fill_row(load_box(left_M4, i), others, one, iou_MN + i * n);
  });
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
