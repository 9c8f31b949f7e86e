// See select_boxes.h. A few slots at a time are gathered into columns, whose arithmetic is vector instructions.
#include "../include/select_boxes.h"

#include <algorithm>
#include <new>

#include "../shared/selection.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int kChunk = 128;
constexpr int64_t kChunksPerPiece = 8;

// What is gathered for the slots of a chunk.
struct Gathered {
  alignas(64) float anchor[4][kChunk];
  alignas(64) float delta[4][kChunk];
  alignas(64) float logit[kChunk];
  alignas(64) int32_t found[kChunk];

  static Box box(const float (&columns)[4][kChunk], int j) {
    return {columns[0][j], columns[1][j], columns[2][j], columns[3][j]};
  }
};

void gather(const ChosenLevel& level, int32_t index_bytes, int64_t image, int64_t first, int count, Gathered& to) {
  for (int j = 0; j < count; ++j) {
    int64_t at = image * level.k + first + j, index = chosen(level, at, index_bytes);
    to.logit[j] = level.logit_BK[at];
    to.found[j] = index >= 0;
    const float zeros[4] = {};
    const float* anchor_4 = index < 0 ? zeros : level.anchor_N4 + 4 * index;
    const float* delta_4 = index < 0 ? zeros : level.delta_BN4 + 4 * (image * level.n + index);
    for (int side = 0; side < 4; ++side) to.anchor[side][j] = anchor_4[side], to.delta[side][j] = delta_4[side];
  }
}

void compute(const Selection& selection, int64_t image, const Gathered& from, int64_t slot, int count) {
  float height = selection.sizes_B2[2 * image], width = selection.sizes_B2[2 * image + 1];
  BoxCode code = selection.code;
  Sieve sieve = selection.sieve;
  int64_t out = image * selection.slots + slot;
  float *boxes_K4 = selection.boxes_BK4 + 4 * out, *scores_K = selection.scores_BK + out;
  uint8_t* valid_K = selection.valid_BK + out;
#pragma GCC ivdep
  for (int j = 0; j < count; ++j) {
    Box box = decode(Gathered::box(from.delta, j), Gathered::box(from.anchor, j), code);
    box = clip(box, height, width, sieve);
    boxes_K4[4 * j] = box.x1, boxes_K4[4 * j + 1] = box.y1, boxes_K4[4 * j + 2] = box.x2, boxes_K4[4 * j + 3] = box.y2;
    scores_K[j] = sigmoid(from.logit[j]);
    valid_K[j] = large_enough(box, sieve) & (from.found[j] != 0) & (from.logit[j] == from.logit[j]);
  }
}

void select_chunk(const Selection& selection, int64_t image, int64_t chunk) {
  const ChosenLevel* level = selection.levels;
  for (; chunk >= ceil_div(level->k, kChunk); ++level) chunk -= ceil_div(level->k, kChunk);
  int64_t first = chunk * kChunk;
  int count = (int)std::min<int64_t>(kChunk, level->k - first);
  Gathered gathered;
  gather(*level, selection.index_bytes, image, first, count, gathered);
  compute(selection, image, gathered, level->first_slot + first, count);
}

void run(const Selection& selection) {
  int64_t chunks = 0;
  for (int64_t level = 0; level < selection.count; ++level) chunks += ceil_div(selection.levels[level].k, kChunk);
  parallel_for(selection.batch * chunks, kChunksPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) select_chunk(selection, chunk / chunks, chunk % chunks);
  });
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(select_boxes)(const void* const* indices_L, const float* const* logits_L,
                                    const float* const* deltas_L, const float* const* anchors_L,
                                    const int64_t* counts_L2, int64_t levels, int64_t batch, int32_t index_bytes,
                                    const float* sizes_B2, float one, float weight_xy, float weight_wh, float log_limit,
                                    float min_size, int32_t ordered, float* boxes_BK4, float* scores_BK,
                                    uint8_t* valid_BK, void*) try {
  using namespace kernels;
  Selection selection = {{}, levels, batch, 0, index_bytes, sizes_B2, {one, weight_xy, weight_wh, log_limit},
                         {one, min_size, ordered}, boxes_BK4, scores_BK, valid_BK};
  if (!add_levels(selection, indices_L, logits_L, deltas_L, anchors_L, counts_L2)) return KERNEL_BAD_ARGUMENT;
  run(selection);
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
