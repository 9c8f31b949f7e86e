// Masks of boxes pasted into the image and cut at a threshold (Mask R-CNN's published rule).
//
// A border of one pixel of zeros round the mask, the box grown by the same factor about its centre and truncated to
// integers, bilinear interpolation with half-pixel centres onto all pixels from x1 to x2 inclusive; inside where the
// value is above the threshold. In float32, each operation rounded, with T = side + 2:
//   near, far = trunc(centre - half), trunc(centre + half), half = (x2 - x1) * 0.5 * (T / side), centre = (x2 + x1) * 0.5
//   a pixel x from near to far reads clamp((x - near + 0.5) * (T / max(far - near + 1, 1)) - 0.5, 0, T - 1)
// The value is 0 outside the grown box, and everywhere if that has a coordinate that is NaN or infinite.
#pragma once
#include "kernel.h"

// masks_NSS: float32. boxes_N4: float32 corners in the image. pasted_NHW: uint8, 0 or 1, every pixel written. side is 1
// to 2^20, height and width at most 2^24 (float32 knows no odd pixels behind it).
KERNEL_API int KERNEL(paste_masks)(const float* masks_NSS, int64_t n, int64_t side, const float* boxes_N4,
                                   int64_t height, int64_t width, float threshold, uint8_t* pasted_NHW, void* stream);
