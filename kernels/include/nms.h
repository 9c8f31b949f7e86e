// Greedy non-maximum suppression inside each group of each image, on the device to the end.
//
// Boxes come best first. A box stays unless a better one of its group that stays overlaps it by more than `iou` (the IoU
// of box_iou.h to the bit). Groups are levels, classes, or any numbers. The walk ends when max_keep boxes have stayed.
// Overlaps are float32: for a limit in double precision, give the greatest float32 that is not above it.
#pragma once
#include "kernel.h"

KERNEL_API int64_t KERNEL(nms_workspace)(int64_t batch, int64_t k, int64_t max_keep);

// boxes_BK4: float32. groups_BK: int32, or null for one group. valid_BK: uint8, 0 for boxes that count for nothing, or
// null. kept_BD: int32 [B, max_keep], indices that stay, best first, -1 behind them. count_B: int32.
KERNEL_API int KERNEL(nms)(const float* boxes_BK4, const int32_t* groups_BK, const uint8_t* valid_BK, int64_t batch,
                           int64_t k, float one, float iou, int64_t max_keep, int32_t* kept_BD, int32_t* count_B,
                           void* workspace, void* stream);
