// Where the outline of a polygon crosses the columns of a target, by the rule of COCO's masks (pycocotools, rleFrPoly).
//
// The rule walks the outline on a grid of fifths of pixels. A step between fine columns 5c + 2 and 5c + 3 passes the
// centre of column c, and all pixels of the column below that place change sides. A closed outline passes every centre
// an even number of times, so columns need not know of each other. Only the steps that count are computed, as in
// harness/data/polygon.py; each operation is the rule's own, in double precision.
#pragma once
#include <math.h>

#include "crop.h"

namespace kernels {

constexpr int kFine = 5;
constexpr double kFineLimit = 1e9;              // differences of two fine coordinates fit an int
constexpr int64_t kPolygonSideLimit = 1 << 24;  // five times that lies well inside

inline bool takes_target(int64_t rois, int64_t height, int64_t width) {
  return rois >= 0 && height >= 0 && width >= 0 && height <= kPolygonSideLimit && width <= kPolygonSideLimit;
}

struct FinePoint {
  int x, y;
  bool number;  // neither coordinate is NaN
};

ON_BOTH int within_limit(double fine) {
  return (int)(fine > -kFineLimit ? fine < kFineLimit ? fine : kFineLimit : -kFineLimit);
}

ON_BOTH FinePoint fine_point(const double* point_2, const Crop& crop) {
  double x = kFine * ((point_2[0] - crop.x) * crop.scale_x) + 0.5;
  double y = kFine * ((point_2[1] - crop.y) * crop.scale_y) + 0.5;
  return {within_limit(x), within_limit(y), x == x && y == y};
}

// The walk rounds by adding a half and cutting towards zero.
ON_BOTH int walked(int start, double slope, double step) { return (int)(start + slope * step + 0.5); }

// The last step of a steep walk, x0 + slope * step, on the near side of the centre of `column`.
ON_BOTH int last_before(int x0, double slope, int column) {
  int far_side = kFine * column + 3;
  double guess = ceil((far_side - 0.5 - x0) / slope);
  double crossed = guess + 1;  // off by one where the walk's own rounding is
  if ((walked(x0, slope, guess) >= far_side) == (slope > 0)) crossed = guess;
  if ((walked(x0, slope, guess - 1) >= far_side) == (slope > 0)) crossed = guess - 1;
  return (int)crossed - 1;
}

// An edge is walked along its longer side from the lower end; both directions give the same steps.
struct Walk {
  int x0, y0;
  double slope;
  bool steep;

  ON_BOTH int fine_row(int column) const {
    if (steep) return y0 + last_before(x0, slope, column);
    double step = (double)(kFine * column + 2 - x0);
    int here = walked(y0, slope, step), next = walked(y0, slope, step + 1);
    return here < next ? here : next;
  }
};

// Of an edge that crosses a column: its longer side is not 0.
ON_BOTH Walk walk_between(const FinePoint& a, const FinePoint& b) {
  int dx = b.x - a.x, dy = b.y - a.y;
  bool steep = (dx < 0 ? -dx : dx) < (dy < 0 ? -dy : dy);
  const FinePoint& start = (steep ? dy : dx) < 0 ? b : a;
  return {start.x, start.y, steep ? (double)dx / dy : (double)dy / dx, steep};
}

// Calls toggle(row, column) for each place from which on all pixels of a column change sides.
template <class Toggle>
ON_BOTH void cross_columns(const FinePoint& a, const FinePoint& b, int height, int width, Toggle toggle) {
  int low = a.x < b.x ? a.x : b.x, high = a.x < b.x ? b.x : a.x;
  int first = low <= 2 ? 0 : (low + 2) / kFine;    // the least column with 5c + 2 >= low
  int last = high < 3 ? -1 : (high - 3) / kFine;  // the greatest with 5c + 3 <= high
  if (last >= width) last = width - 1;
  if (first > last) return;
  Walk walk = walk_between(a, b);
  for (int column = first; column <= last; ++column) {
    int fine_row = walk.fine_row(column), row = fine_row <= 2 ? 0 : (fine_row + 2) / kFine;
    if (row < height) toggle(row, column);
  }
}

}  // namespace kernels
