// See polygon_targets.h. A byte of the target holds a bit for each of seven polygons, so that one pass down the rows
// fills them all; the eighth bit collects what earlier ones cover.
#include "../include/polygon_targets.h"

#include <string.h>

#include <algorithm>
#include <new>

#include "../shared/polygon.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int64_t kPlanes = 7;
constexpr uint8_t kCovered = 1 << kPlanes;
constexpr int64_t kRoisPerPiece = 4;

struct Shape {
  int64_t height, width;
};

// Marks in `plane` of the target where the polygon's sides change; returns whether all its vertices are numbers.
bool mark_crossings(const double* points_V2, int64_t count, const Crop& crop, Shape shape, int plane, uint8_t* target) {
  if (count == 0) return true;
  FinePoint before = fine_point(points_V2 + 2 * (count - 1), crop);
  bool numbers = true;
  for (int64_t vertex = 0; vertex < count; ++vertex) {
    FinePoint here = fine_point(points_V2 + 2 * vertex, crop);
    numbers &= here.number;
    cross_columns(before, here, (int)shape.height, (int)shape.width,
                  [=](int row, int column) { target[row * shape.width + column] ^= (uint8_t)(1 << plane); });
    before = here;
  }
  return numbers;
}

// From changes to insides, all planes at once.
void fill_down(Shape shape, uint8_t* target) {
  for (int64_t row = 1; row < shape.height; ++row) {
    uint8_t* here = target + row * shape.width;
    const uint8_t* above = here - shape.width;
#pragma GCC ivdep
    for (int64_t column = 0; column < shape.width; ++column) here[column] ^= above[column] & (uint8_t)~kCovered;
  }
}

void unite(uint8_t planes, uint8_t value, int64_t pixels, uint8_t* target) {
  for (int64_t i = 0; i < pixels; ++i) target[i] = target[i] & planes ? value : 0;
}

void draw(const double* points_V2, const int64_t* starts, int64_t polygons, const Crop& crop, Shape shape,
          uint8_t* target) {
  int64_t pixels = shape.height * shape.width;
  memset(target, 0, (size_t)pixels);
  for (int64_t first = 0; first < polygons; first += kPlanes) {
    int64_t end = std::min(first + kPlanes, polygons);
    uint8_t drawn = kCovered;
    for (int64_t p = first; p < end; ++p) {
      int plane = (int)(p - first);
      bool numbers = mark_crossings(points_V2 + 2 * starts[p], starts[p + 1] - starts[p], crop, shape, plane, target);
      drawn |= (uint8_t)(numbers << plane);
    }
    fill_down(shape, target);
    unite(drawn, end == polygons ? 1 : kCovered, pixels, target);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(polygon_targets_workspace)(int64_t, int64_t, int64_t) { return 0; }

KERNEL_API int KERNEL(polygon_targets)(const double* points_V2, const int64_t* polygon_starts,
                                       const int64_t* object_starts, const int32_t* object_R, const double* boxes_R4,
                                       int64_t rois, int64_t height, int64_t width, double min_side,
                                       uint8_t* targets_RHW, void*, void*) try {
  using namespace kernels;
  if (!takes_target(rois, height, width)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || height == 0 || width == 0) return 0;
  parallel_for(rois, kRoisPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t roi = begin; roi < end; ++roi) {
      int64_t object = object_R[roi], first = object < 0 ? 0 : object_starts[object];
      int64_t polygons = object < 0 ? 0 : object_starts[object + 1] - first;
      draw(points_V2, polygon_starts + first, polygons, crop_of(boxes_R4, roi, height, width, min_side),
           {height, width}, targets_RHW + roi * height * width);
    }
  });
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
