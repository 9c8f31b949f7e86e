// See select_boxes.h. A thread a slot, a layer of the grid a level: all levels and images in one launch.
#include "../include/select_boxes.h"

#include "../shared/device.h"
#include "../shared/selection.h"

namespace kernels {
namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ void select_slot(const Selection& selection, const ChosenLevel& level, int64_t image,
                                            int64_t place) {
  int64_t at = image * level.k + place, out = image * selection.slots + level.first_slot + place;
  int64_t index = chosen(level, at, selection.index_bytes);
  float logit = level.logit_BK[at];
  Box box = {0.f, 0.f, 0.f, 0.f};
  if (index >= 0) {
    Box anchor = load_box(level.anchor_N4, index), offsets = load_box(level.delta_BN4, image * level.n + index);
    const float* size_2 = selection.sizes_B2 + 2 * image;
    box = clip(decode(offsets, anchor, selection.code), size_2[0], size_2[1], selection.sieve);
  }
  float* box_4 = selection.boxes_BK4 + 4 * out;
  box_4[0] = box.x1, box_4[1] = box.y1, box_4[2] = box.x2, box_4[3] = box.y2;
  selection.scores_BK[out] = sigmoid(logit);
  selection.valid_BK[out] = index >= 0 && logit == logit && large_enough(box, selection.sieve);
}

__global__ void __launch_bounds__(kThreads) select_kernel(Selection selection) {
  ChosenLevel level = selection.levels[blockIdx.z];
  int64_t first = (int64_t)blockIdx.x * kThreads + threadIdx.x, step = (int64_t)gridDim.x * kThreads;
  for (int64_t image = blockIdx.y; image < selection.batch; image += gridDim.y)
    for (int64_t place = first; place < level.k; place += step) select_slot(selection, level, image, place);
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(select_boxes)(const void* const* indices_L, const float* const* logits_L,
                                    const float* const* deltas_L, const float* const* anchors_L,
                                    const int64_t* counts_L2, int64_t levels, int64_t batch, int32_t index_bytes,
                                    const float* sizes_B2, float one, float weight_xy, float weight_wh, float log_limit,
                                    float min_size, int32_t ordered, float* boxes_BK4, float* scores_BK,
                                    uint8_t* valid_BK, void* stream) {
  using namespace kernels;
  Selection selection = {{}, levels, batch, 0, index_bytes, sizes_B2, {one, weight_xy, weight_wh, log_limit},
                         {one, min_size, ordered}, boxes_BK4, scores_BK, valid_BK};
  if (!add_levels(selection, indices_L, logits_L, deltas_L, anchors_L, counts_L2)) return KERNEL_BAD_ARGUMENT;
  if (batch == 0 || selection.slots == 0) return 0;
  int64_t longest = 0;
  for (const ChosenLevel& level : selection.levels) longest = level.k > longest ? level.k : longest;
  dim3 grid(blocks_x(longest, kThreads), blocks_yz(batch, 1), levels);
  LAUNCH(select_kernel, grid, kThreads, 0, stream, selection);
  return LAUNCHED();
}
