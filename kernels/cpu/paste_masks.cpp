// See paste_masks.h. Each row of a mask is stretched to the box's width once, when the image's rows first need it; a row of
// the image is then a blend of two of them, in vector instructions.
#include "../include/paste_masks.h"

#include <string.h>

#include <new>
#include <utility>

#include "../shared/paste.h"
#include "scratch.h"

namespace kernels {
namespace {

// Rows of a mask, stretched; the image is read from top to bottom, so that two of them are enough.
class StretchedRows {
 public:
  // scratch: 2 * width + side + 2 values.
  StretchedRows(const float* mask_SS, int side, const Span& columns, int64_t width, float* scratch)
      : mask_SS_(mask_SS), side_(side), columns_(columns), upper_(scratch), lower_(scratch + width) {
    line_ = scratch + 2 * width;
    line_[0] = line_[side + 1] = 0.f;
  }

  void move_to(int index) {
    if (index == at_) return;
    std::swap(upper_, lower_);
    if (index != at_ + 1 || at_ < 0) stretch(index, upper_);
    stretch(index + 1, lower_);
    at_ = index;
  }

  const float* upper() const { return upper_; }
  const float* lower() const { return lower_; }

 private:
  // row: of the mask with its border.
  void stretch(int row, float* out) {
    bool border = row == 0 || row == side_ + 1;
    size_t bytes = (size_t)side_ * sizeof(float);
    border ? memset(line_ + 1, 0, bytes) : memcpy(line_ + 1, mask_SS_ + (int64_t)(row - 1) * side_, bytes);
    Span columns = columns_;
    const float* line = line_;
#pragma GCC ivdep
    for (int x = columns.begin; x < columns.end; ++x) {
      Tap tap = columns.tap(x);
      out[x] = between(line[tap.index], line[tap.index + 1], tap.part);
    }
  }

  const float* mask_SS_;
  int side_, at_ = -1;
  Span columns_;
  float *upper_, *lower_, *line_;
};

void blend(const float* upper, const float* lower, float part, float threshold, const Span& columns, uint8_t* row) {
  int begin = columns.begin, end = columns.end;
#pragma GCC ivdep
  for (int x = begin; x < end; ++x) row[x] = between(upper[x], lower[x], part) > threshold;
}

void paste(const float* mask_SS, int side, const float* box_4, int height, int width, float threshold, float* scratch,
           uint8_t* pasted_HW) {
  memset(pasted_HW, 0.f > threshold, (size_t)height * (size_t)width);
  Span columns = span_of(box_4[0], box_4[2], side, width), rows = span_of(box_4[1], box_4[3], side, height);
  if (columns.begin >= columns.end) return;
  StretchedRows stretched(mask_SS, side, columns, width, scratch);
  for (int y = rows.begin; y < rows.end; ++y) {
    Tap tap = rows.tap(y);
    stretched.move_to(tap.index);
    blend(stretched.upper(), stretched.lower(), tap.part, threshold, columns, pasted_HW + (int64_t)y * width);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(paste_masks)(const float* masks_NSS, int64_t n, int64_t side, const float* boxes_N4,
                                   int64_t height, int64_t width, float threshold, uint8_t* pasted_NHW, void*) try {
  using namespace kernels;
  if (!takes_masks(n, side, height, width)) return KERNEL_BAD_ARGUMENT;
  if (n == 0 || height == 0 || width == 0) return 0;
  parallel_with_scratch<float>(n, 1, 2 * width + side + 2, [&](int64_t begin, int64_t end, float* scratch) {
    for (int64_t i = begin; i < end; ++i)
      paste(masks_NSS + i * side * side, (int)side, boxes_N4 + 4 * i, (int)height, (int)width, threshold, scratch,
            pasted_NHW + i * height * width);
  });
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
