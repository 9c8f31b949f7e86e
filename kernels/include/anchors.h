// Anchors of all levels of a pyramid, ordered level, row, column, cell.
//
// A cell is an anchor about position (0, 0) of its level. Conventions of cells, in double precision, rounding half to
// even, ratio = height / width:
//   0  legacy (R-CNN): inclusive; the pixel block 0..stride-1 about (stride - 1) / 2; width round(sqrt(stride^2 / ratio)),
//      height round(that width * ratio), both times size / stride
//   1  torchvision: about the origin, half sides round(size / sqrt(ratio) / 2) and round(size * sqrt(ratio) / 2)
//   2  EfficientDet: about stride / 2, sides size * 2^(octave / octaves) * aspect, octave before aspect; size is
//      anchor scale times stride, aspects are given as (width, height)
// An anchor is cell + (column, row) * step in double, rounded to float32 once.
#pragma once
#include "kernel.h"

enum AnchorConvention { ANCHORS_LEGACY = 0, ANCHORS_TORCHVISION = 1, ANCHORS_EFFICIENTDET = 2 };

// Cells of one level. aspects_A2: host float64, (width, height) for EfficientDet; (1, ratio) else. octaves: 1 but for
// EfficientDet. cells_C4: host float64, C = octaves * A.
KERNEL_API int KERNEL(anchor_cells)(int32_t convention, double stride, double size,
                                    KERNEL_HOST const double* aspects_A2, int64_t a, int64_t octaves,
                                    KERNEL_HOST double* cells_C4);

// cells_LC4: host float64. grids_L2: host int64, rows and columns. steps_L2: host float64, pixels between rows and
// columns. At most KERNEL_MAX_LEVELS levels, at most 16 cells. anchors_N4: float32, N = C * sum of rows * columns.
KERNEL_API int KERNEL(anchors)(KERNEL_HOST const double* cells_LC4, int64_t levels, int64_t c,
                               KERNEL_HOST const int64_t* grids_L2, KERNEL_HOST const double* steps_L2,
                               float* anchors_N4, void* stream);
