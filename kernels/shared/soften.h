// How soft-NMS lowers a score; see soft_nms.h. An overlap of 0 leaves it as it is to the bit.
#pragma once
#include "elementary.h"

namespace kernels {

ON_BOTH float softened(float score, float iou, float sigma) { return score * exp_negative(-(iou * iou) / sigma); }

}  // namespace kernels
