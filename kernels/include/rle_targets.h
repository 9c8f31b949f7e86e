// Mask targets from run lengths: the object's pixel under the centre of each target pixel.
//
// Row i of a target reads row floor(y1 + (i + 0.5) / (H / max(y2 - y1, min_side))) of the mask, columns alike, in double
// precision; outside the mask, and where that is NaN, it is 0. An object of size 0 x 0 is empty.
#pragma once
#include "kernel.h"

// counts: uint32, run lengths down the columns, zeros first, of all objects. object_starts: int64 [O + 1], the first run
// of each object and the end. sizes_O2: int64, height and width of each object's mask, less than 2^32 pixels. object_R:
// int32, each RoI's object; outside 0..O-1: none, its target is empty. boxes_R4: float64. targets_RHW: uint8, 1 inside,
// every pixel written. workspace: uint32 of the number of runs (their running sums).
KERNEL_API int KERNEL(rle_targets)(const uint32_t* counts, const int64_t* object_starts, const int64_t* sizes_O2,
                                   int64_t objects, const int32_t* object_R, const double* boxes_R4, int64_t rois,
                                   int64_t height, int64_t width, double min_side, uint8_t* targets_RHW,
                                   uint32_t* workspace, void* stream);
