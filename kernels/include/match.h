// Which object each candidate (anchor or proposal) learns: IoU and matcher in one, the overlaps are never stored.
//
// IoU is that of box_iou.h to the bit. A candidate takes the object that it overlaps most, the first of equals; it is
// foreground from `foreground` on (`strict`: above it), background below `background`, and takes no part between. Then,
// by `keep`, candidates become foreground whatever their overlap, if an object overlaps them at all:
//   0  none
//   1  every candidate that ties an object's best overlap, keeping its own object (Faster R-CNN, section 3.1.2)
//   2  each object's first best candidate, which then learns that object, the first of several
// An object that overlaps no candidate makes none foreground, unlike in published code.
#pragma once
#include "kernel.h"

enum MatchKeep { MATCH_KEEP_NONE = 0, MATCH_KEEP_TIES = 1, MATCH_KEEP_FIRST = 2 };

// Bytes of `workspace`.
KERNEL_API int64_t KERNEL(match_workspace)(int64_t batch, int64_t m, int64_t n);

// objects_BM4: float32. present_BM: uint8, 0 for a place without an object; null: all are objects.
// candidates: float32 [N, 4] of every image (candidate_stride 0) or [B, N, 4] (candidate_stride 4 N).
// object_BN: int32, 0 where there is no object. state_BN: int8, 1 foreground, 0 background, -1 neither. m and n are
// below 2^31.
KERNEL_API int KERNEL(match)(const float* objects_BM4, const uint8_t* present_BM, int64_t batch, int64_t m,
                             const float* candidates, int64_t n, int64_t candidate_stride, float one, float foreground,
                             float background, int32_t strict, int32_t keep, int32_t* object_BN, int8_t* state_BN,
                             void* workspace, void* stream);
