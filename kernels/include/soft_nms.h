// Gaussian soft-NMS inside each class of each image (Bodla et al. 2017).
//
// Round by round the candidate of the highest score is taken, the first of equals, and every other one of its class is
// multiplied by exp(-iou^2 / sigma); until none is above score_threshold or max_keep are taken. IoU is that of
// box_iou.h for one = 0; a factor below the smallest normal float32 is 0. sigma is above 0.
#pragma once
#include "kernel.h"

KERNEL_API int64_t KERNEL(soft_nms_workspace)(int64_t batch, int64_t c);

// boxes_BC4, scores_BC: float32, in any order; a NaN score is never taken. classes_BC: int32.
// kept_BD: int32, 0 in slots that stay empty. kept_scores_BD: float32 as lowered, best first, 0 in empty slots.
KERNEL_API int KERNEL(soft_nms)(const float* boxes_BC4, const float* scores_BC, const int32_t* classes_BC,
                                int64_t batch, int64_t c, float sigma, float score_threshold, int64_t max_keep,
                                int32_t* kept_BD, float* kept_scores_BD, void* workspace, void* stream);
