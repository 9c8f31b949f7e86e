// How pixels of an image read the mask of a box; paste_masks.h has the rule.
#pragma once
#include <math.h>

#include "portable.h"

namespace kernels {

constexpr int64_t kMaskSideLimit = 1 << 20, kImageSideLimit = 1 << 24;

inline bool takes_masks(int64_t n, int64_t side, int64_t height, int64_t width) {
  bool fits = side <= kMaskSideLimit && height <= kImageSideLimit && width <= kImageSideLimit;
  return fits && n >= 0 && side >= 1 && height >= 0 && width >= 0;
}

// Between two neighbours of the mask with its border: index and index + 1, the second with weight `part`.
struct Tap {
  int index;
  float part;
};

// One side of a grown box, and which pixels of the image lie on it: begin..end-1.
struct Span {
  float near, ratio;
  int last_tap, begin, end;

  ON_BOTH Tap tap(int pixel) const {
    float place = ((float)pixel - near + 0.5f) * ratio - 0.5f;
    place = place > 0.f ? place : 0.f;
    place = place < (float)last_tap ? place : (float)last_tap;
    int before = (int)place < last_tap ? (int)place : last_tap - 1;
    return {before, place - (float)before};
  }
};

ON_BOTH Span span_of(float x1, float x2, int side, int length) {
  float taps = (float)(side + 2);
  float half = (x2 - x1) * 0.5f * (taps / (float)side), centre = (x2 + x1) * 0.5f;
  float near = truncf(centre - half), far = truncf(centre + half), extent = far - near + 1.f;
  Span span = {near, taps / (extent > 1.f ? extent : 1.f), side + 1, 0, 0};
  bool meets = near <= far && near < (float)length && far >= 0.f && extent < INFINITY;
  if (!meets) return span;
  span.begin = near > 0.f ? (int)near : 0;
  span.end = far < (float)length ? (int)far + 1 : length;
  return span;
}

ON_BOTH float between(float a, float b, float part) { return a * (1.f - part) + b * part; }

}  // namespace kernels
