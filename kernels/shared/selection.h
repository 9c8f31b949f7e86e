// The arguments of select_boxes as both bodies take them: by value, one entry a level.
#pragma once
#include "../include/select_boxes.h"
#include "box_code.h"

namespace kernels {

struct ChosenLevel {
  const void* index_BK;
  const float *logit_BK, *delta_BN4, *anchor_N4;
  int64_t n, k, first_slot;
};

struct Selection {
  ChosenLevel levels[KERNEL_MAX_LEVELS];
  int64_t count, batch, slots;  // slots: those of an image
  int32_t index_bytes;
  const float* sizes_B2;
  BoxCode code;
  Sieve sieve;
  float *boxes_BK4, *scores_BK;
  uint8_t* valid_BK;
};

// Fills in the levels; false if the call's numbers are not what select_boxes.h allows.
inline bool add_levels(Selection& selection, const void* const* indices_L, const float* const* logits_L,
                       const float* const* deltas_L, const float* const* anchors_L, const int64_t* counts_L2) {
  if (selection.count < 0 || selection.count > KERNEL_MAX_LEVELS || selection.batch < 0) return false;
  if (selection.index_bytes != 4 && selection.index_bytes != 8) return false;
  for (int64_t level = 0; level < selection.count; ++level) {
    int64_t n = counts_L2[2 * level], k = counts_L2[2 * level + 1];
    if (n < 0 || k < 0) return false;
    selection.levels[level] = {indices_L[level], logits_L[level], deltas_L[level], anchors_L[level],
                               n, k, selection.slots};
    selection.slots += k;
  }
  return true;
}

// The anchor that stands at place `at` of [B, K], -1 if there is no such one.
ON_BOTH int64_t chosen(const ChosenLevel& level, int64_t at, int32_t index_bytes) {
  int64_t index = index_bytes == 8 ? ((const int64_t*)level.index_BK)[at] : ((const int32_t*)level.index_BK)[at];
  return index >= 0 && index < level.n ? index : -1;
}

}  // namespace kernels
