// RoIAlign (He et al. 2017) from every RoI's own level of a pyramid, forward and backward.
//
// An RoI is scaled by its level's scale, less half a pixel if `aligned`; its sides count as at least `min_side` pixels of
// the level (0 or more). Each bin averages ratio x ratio bilinear samples (ratio 0: ceil(side / bins) a direction, at
// most 4,096, which is the largest ratio too). A sample more than a pixel outside is 0, a nearer one takes the border's
// value; coordinates are computed in `type`. Samples at NaN are 0, and so is all of an RoI whose level or image is not
// there: nothing is read or written for it but its zeros in `out`. bins: 1 to 1,024, and channels * bins * bins below
// 2^31.
#pragma once
#include "kernel.h"

// Host arrays of one entry a level: features_L, pointers to values of `type` (KernelType); shapes_L2, rows and columns;
// strides_L4, elements between images, channels, rows, columns; scales_L, level pixels per image pixel. images: how many
// the features hold. rois_R4: values of `type`, corners in image pixels. images_R, levels_R: int32. out: values of
// `type`, [R, channels, bins, bins], or [R, bins, bins, channels] if channels_last.
KERNEL_API int KERNEL(roi_align)(const void* const* features_L, KERNEL_HOST const int64_t* shapes_L2,
                                 KERNEL_HOST const int64_t* strides_L4, KERNEL_HOST const double* scales_L,
                                 int64_t levels, int64_t images, int64_t channels, int32_t type, const void* rois_R4,
                                 const int32_t* images_R, const int32_t* levels_R, int64_t rois, int64_t bins,
                                 int64_t ratio, int32_t aligned, double min_side, int32_t channels_last, void* out,
                                 void* stream);

// The gradient of the features: added to what stands in gradients_L, which has shapes and strides as above, no two
// elements in one place. `upstream` is laid out as `out`. RoIs get no gradient. Equal to the bit from call to call on the
// CPU; on a device the order of the sums, and so the last bits, changes from call to call.
KERNEL_API int KERNEL(roi_align_backward)(void* const* gradients_L, KERNEL_HOST const int64_t* shapes_L2,
                                          KERNEL_HOST const int64_t* strides_L4, KERNEL_HOST const double* scales_L,
                                          int64_t levels, int64_t images, int64_t channels, int32_t type,
                                          const void* rois_R4, const int32_t* images_R, const int32_t* levels_R,
                                          int64_t rois, int64_t bins, int64_t ratio, int32_t aligned, double min_side,
                                          int32_t channels_last, const void* upstream, void* stream);
