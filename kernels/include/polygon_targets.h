// Mask targets from polygons: each object cut to its RoI, stretched to H x W pixels, drawn by COCO's rule to the bit.
//
// A vertex becomes (x - x1) * (W / max(x2 - x1, min_side)), y alike, in double precision; the outline is walked on a grid
// five times finer (pycocotools, rleFrPoly). Parts of an object are united. Any number of vertices, none and one too.
// Where the rule is silent: fine coordinates are kept within +-1e9 (the rule's int overflows at 2.1e9); a polygon with a
// vertex that is NaN, or becomes it by the RoI, draws nothing; so does an object without polygons.
#pragma once
#include "kernel.h"

// Sides of targets are 0..2^24.
KERNEL_API int64_t KERNEL(polygon_targets_workspace)(int64_t rois, int64_t height, int64_t width);

// points_V2: float64, the vertices of all polygons. polygon_starts: int64 [P + 1], the first vertex of each and the end.
// object_starts: int64 [O + 1], the first polygon of each object and the end. object_R: int32, each RoI's object; below
// 0: none, its target is empty. boxes_R4: float64. targets_RHW: uint8, 1 inside, every pixel written.
KERNEL_API int KERNEL(polygon_targets)(const double* points_V2, const int64_t* polygon_starts,
                                       const int64_t* object_starts, const int32_t* object_R, const double* boxes_R4,
                                       int64_t rois, int64_t height, int64_t width, double min_side,
                                       uint8_t* targets_RHW, void* workspace, void* stream);
