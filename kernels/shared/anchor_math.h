// Anchors of one position, and what they are elsewhere; see anchors.h. Double precision on host and device alike.
#pragma once
#include <cmath>

#include "../include/anchors.h"
#include "portable.h"

namespace kernels {

constexpr int kMaxCells = 16;  // of a position

// How far the n-th row or column is from the first.
ON_BOTH double anchor_shift(int64_t n, double step) { return (double)n * step; }

ON_BOTH float anchor_coordinate(double cell, double shift) { return (float)(cell + shift); }

inline void centred(double x, double y, double half_width, double half_height, double* cell_4) {
  cell_4[0] = x - half_width, cell_4[1] = y - half_height;
  cell_4[2] = x + half_width, cell_4[3] = y + half_height;
}

inline void legacy_cell(double stride, double size, double ratio, double* cell_4) {
  double centre = (stride - 1) / 2, scale = size / stride;
  double base = std::nearbyint(std::sqrt(stride * stride / ratio));
  double width = base * scale, height = std::nearbyint(base * ratio) * scale;
  centred(centre, centre, (width - 1) / 2, (height - 1) / 2, cell_4);
}

inline void torchvision_cell(double size, double ratio, double* cell_4) {
  double root = std::sqrt(ratio);
  centred(0, 0, std::nearbyint(size / root / 2), std::nearbyint(size * root / 2), cell_4);
}

inline void efficientdet_cell(double stride, double side, const double* aspect_2, double* cell_4) {
  centred(stride / 2, stride / 2, side * aspect_2[0] / 2, side * aspect_2[1] / 2, cell_4);
}

// The body of anchor_cells for every target: the host computes it.
inline int make_cells(int32_t convention, double stride, double size, const double* aspects_A2, int64_t a,
                      int64_t octaves, double* cells_C4) {
  if (convention < ANCHORS_LEGACY || convention > ANCHORS_EFFICIENTDET || a < 0 || octaves < 1 ||
      (convention != ANCHORS_EFFICIENTDET && octaves != 1))
    return KERNEL_BAD_ARGUMENT;
  for (int64_t octave = 0; octave < octaves; ++octave) {
    double side = size * std::pow(2.0, (double)octave / (double)octaves);
    for (int64_t i = 0; i < a; ++i) {
      const double* aspect_2 = aspects_A2 + 2 * i;
      double* cell_4 = cells_C4 + 4 * (octave * a + i);
      if (convention == ANCHORS_LEGACY) legacy_cell(stride, size, aspect_2[1], cell_4);
      if (convention == ANCHORS_TORCHVISION) torchvision_cell(size, aspect_2[1], cell_4);
      if (convention == ANCHORS_EFFICIENTDET) efficientdet_cell(stride, side, aspect_2, cell_4);
    }
  }
  return 0;
}

// Whether anchors.h takes these numbers of levels, cells and positions.
inline bool anchor_sizes_fit(int64_t levels, int64_t c, const int64_t* grids_L2) {
  bool fit = levels >= 0 && levels <= KERNEL_MAX_LEVELS && c >= 0 && c <= kMaxCells;
  for (int64_t i = 0; fit && i < 2 * levels; ++i) fit = grids_L2[i] >= 0;
  return fit;
}

}  // namespace kernels
