// Intersection over union of every pair of boxes.
//
// iou = intersection / (area + area - intersection) in float32, each operation rounded on its own. Boxes without area,
// and boxes with a coordinate that is NaN or infinite where that makes the quotient NaN, overlap nothing, not even
// themselves: their IoU is 0.
#pragma once
#include "kernel.h"

// left_M4, right_N4: float32 corners. iou_MN: float32, 0..1.
KERNEL_API int KERNEL(box_iou)(const float* left_M4, int64_t m, const float* right_N4, int64_t n, float one,
                               float* iou_MN, void* stream);
