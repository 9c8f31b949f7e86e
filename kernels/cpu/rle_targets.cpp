// See rle_targets.h. Down a column the runs are walked from each pixel to the next; only the first one is searched.
#include "../include/rle_targets.h"

#include <new>

#include "../shared/runs.h"
#include "scratch.h"

namespace kernels {
namespace {

constexpr int64_t kObjectsPerPiece = 16, kRoisPerPiece = 4;

void add_up(const uint32_t* counts, int64_t begin, int64_t end, uint32_t* ends) {
  uint32_t sum = 0;
  for (int64_t run = begin; run < end; ++run) ends[run] = sum += counts[run];
}

// rows_H: the mask's row under each of the target's, -1 outside.
void read_column(const Runs& runs, int64_t column, const int64_t* rows_H, int64_t height, int64_t stride,
                 uint8_t* target) {
  int64_t run = -1;
  for (int64_t i = 0; i < height; ++i) {
    bool one = false;
    if (column >= 0 && rows_H[i] >= 0) {
      int64_t pixel = column * runs.height + rows_H[i];
      if (run < 0) run = run_of(runs, 0, pixel);
      while (run < runs.count && runs.ends[run] <= pixel) ++run;
      one = run & 1;
    }
    target[i * stride] = one;
  }
}

void draw(const Runs& runs, const Crop& crop, int64_t height, int64_t width, int64_t* rows_H, uint8_t* target) {
  for (int64_t i = 0; i < height; ++i) rows_H[i] = inside(under_centre(i, crop.y, crop.scale_y), runs.height);
  for (int64_t j = 0; j < width; ++j) {
    int64_t column = inside(under_centre(j, crop.x, crop.scale_x), runs.width);
    read_column(runs, column, rows_H, height, width, target + j);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(rle_targets)(const uint32_t* counts, const int64_t* object_starts, const int64_t* sizes_O2,
                                   int64_t objects, const int32_t* object_R, const double* boxes_R4, int64_t rois,
                                   int64_t height, int64_t width, double min_side, uint8_t* targets_RHW,
                                   uint32_t* workspace, void*) try {
  using namespace kernels;
  if (objects < 0 || rois < 0 || height < 0 || width < 0) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || height == 0 || width == 0) return 0;
  parallel_for(objects, kObjectsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) add_up(counts, object_starts[o], object_starts[o + 1], workspace);
  });
  RunLists lists = {workspace, object_starts, sizes_O2, objects};
  parallel_with_scratch<int64_t>(rois, kRoisPerPiece, height, [&](int64_t begin, int64_t end, int64_t* rows_H) {
    for (int64_t roi = begin; roi < end; ++roi)
      draw(lists.of(object_R[roi]), crop_of(boxes_R4, roi, height, width, min_side), height, width, rows_H,
           targets_RHW + roi * height * width);
  });
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
