// What stands between a framework's top-k and NMS: gather, decode, clip, and sieve by size; all levels and images at once.
//
// Decoding (R-CNN): dx and dy over weight_xy, dw and dh over weight_wh and at most `log_limit`. float32.
#pragma once
#include "kernel.h"

// Host arrays of one entry a level: indices_L, pointers to int32 or int64 (index_bytes 4 or 8) [B, K_l], which anchors
// were chosen; logits_L, to float32 [B, K_l], their logits; deltas_L, to float32 [B, N_l, 4]; anchors_L, to float32
// [N_l, 4]; counts_L2, int64, N_l and K_l. sizes_B2: float32, height and width of each image's valid area.
// ordered: 1 puts far corners no nearer than near ones, after clipping.
// boxes_BK4: float32, K the sum of K_l, levels in order; of any value where not valid. scores_BK: sigmoid of the logits.
// valid_BK: uint8, whether both sides reach min_size; an index outside 0..N_l-1, or a NaN, is not valid.
KERNEL_API int KERNEL(select_boxes)(const void* const* indices_L, const float* const* logits_L,
                                    const float* const* deltas_L, const float* const* anchors_L,
                                    KERNEL_HOST const int64_t* counts_L2, int64_t levels, int64_t batch,
                                    int32_t index_bytes, const float* sizes_B2, float one, float weight_xy,
                                    float weight_wh, float log_limit, float min_size, int32_t ordered,
                                    float* boxes_BK4, float* scores_BK, uint8_t* valid_BK, void* stream);
