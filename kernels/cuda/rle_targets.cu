// See rle_targets.h. A warp adds up the runs of an object; then a thread finds the run of a target pixel by halving.
#include "../include/rle_targets.h"

#include "../shared/device.h"
#include "../shared/runs.h"

namespace kernels {
namespace {

constexpr int kThreads = 128, kWarp = 32, kWarps = kThreads / kWarp;
constexpr unsigned kAllLanes = 0xffffffffu;

// The sum of the values of this lane and those before it.
__device__ uint32_t sum_up_to_lane(uint32_t value, int lane) {
  for (int by = 1; by < kWarp; by *= 2) {
    uint32_t before = __shfl_up_sync(kAllLanes, value, by);
    if (lane >= by) value += before;
  }
  return value;
}

__global__ void __launch_bounds__(kThreads)
    run_ends_kernel(const uint32_t* __restrict__ counts, const int64_t* __restrict__ object_starts, int64_t objects,
                    uint32_t* __restrict__ ends) {
  int lane = threadIdx.x % kWarp;
  int64_t warp = (int64_t)blockIdx.x * kWarps + threadIdx.x / kWarp;
  for (int64_t object = warp; object < objects; object += (int64_t)gridDim.x * kWarps) {
    int64_t end = object_starts[object + 1];
    uint32_t sum = 0;
    for (int64_t first = object_starts[object]; first < end; first += kWarp) {
      int64_t run = first + lane;
      uint32_t here = sum + sum_up_to_lane(run < end ? counts[run] : 0, lane);
      if (run < end) ends[run] = here;
      sum = __shfl_sync(kAllLanes, here, kWarp - 1);
    }
  }
}

__device__ uint8_t pixel_of(const Runs& runs, const Crop& crop, int64_t i, int64_t j) {
  int64_t row = inside(under_centre(i, crop.y, crop.scale_y), runs.height);
  int64_t column = inside(under_centre(j, crop.x, crop.scale_x), runs.width);
  return row < 0 || column < 0 ? 0 : run_of(runs, 0, column * runs.height + row) & 1;
}

__global__ void __launch_bounds__(kThreads)
    rle_targets_kernel(RunLists lists, const int32_t* __restrict__ object_R, const double* __restrict__ boxes_R4,
                       int64_t rois, int64_t height, int64_t width, double min_side,
                       uint8_t* __restrict__ targets_RHW) {
  int64_t pixels = height * width;
  for (int64_t roi = blockIdx.x; roi < rois; roi += gridDim.x) {
    Runs runs = lists.of(object_R[roi]);
    Crop crop = crop_of(boxes_R4, roi, height, width, min_side);
    for (int64_t i = blockIdx.y * (int64_t)kThreads + threadIdx.x; i < pixels; i += (int64_t)gridDim.y * kThreads)
      targets_RHW[roi * pixels + i] = pixel_of(runs, crop, i / width, i % width);
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int KERNEL(rle_targets)(const uint32_t* counts, const int64_t* object_starts, const int64_t* sizes_O2,
                                   int64_t objects, const int32_t* object_R, const double* boxes_R4, int64_t rois,
                                   int64_t height, int64_t width, double min_side, uint8_t* targets_RHW,
                                   uint32_t* workspace, void* stream) {
  using namespace kernels;
  if (objects < 0 || rois < 0 || height < 0 || width < 0) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || height == 0 || width == 0) return 0;
  if (objects > 0)
    LAUNCH(run_ends_kernel, blocks_x(objects, kWarps), kThreads, 0, stream, counts, object_starts, objects, workspace);
  RunLists lists = {workspace, object_starts, sizes_O2, objects};
  dim3 grid(blocks_x(rois, 1), blocks_yz(height * width, 4 * kThreads));
  LAUNCH(rle_targets_kernel, grid, kThreads, 0, stream, lists, object_R, boxes_R4, rois, height, width, min_side,
         targets_RHW);
  return LAUNCHED();
}
