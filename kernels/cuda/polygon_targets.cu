// See polygon_targets.h. A block draws one RoI at a time: a thread an edge marks crossings as bits, a thread a column
// fills them. Bits lie in shared memory where they fit, else in the workspace, a piece for each block.
#include "../include/polygon_targets.h"

#include "../shared/device.h"
#include "../shared/polygon.h"

namespace kernels {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMostBlocks = grid_limit(1024), kMostSharedBytes = 47 << 10;

struct Polygons {
  const double* points_V2;
  const int64_t* polygon_starts;
  const int64_t* object_starts;
};

// Bits of a target column by column, 32 rows a word: those of the polygon being drawn, and those covered so far.
struct Bits {
  uint32_t* changed;
  uint32_t* covered;
  int64_t words;  // of a column
  int height, width;
};

ON_BOTH int64_t words_of(int64_t height) { return ceil_div(height, 32); }
ON_BOTH int64_t bytes_of(int64_t height, int64_t width) { return 2 * words_of(height) * width * (int64_t)sizeof(uint32_t); }

__device__ void clear(const Bits& bits) {
  for (int64_t i = threadIdx.x; i < 2 * bits.words * bits.width; i += kThreads) bits.changed[i] = 0;
}

// A word is marked from the crossing on to its last bit, so that only words below have to learn of it later.
__device__ void mark_crossings(const double* points_V2, int64_t count, const Crop& crop, const Bits& bits, int* broken) {
  for (int64_t vertex = threadIdx.x; vertex < count; vertex += kThreads) {
    FinePoint here = fine_point(points_V2 + 2 * vertex, crop);
    FinePoint next = fine_point(points_V2 + 2 * (vertex + 1 == count ? 0 : vertex + 1), crop);
    if (!here.number) atomicOr(broken, 1);
    cross_columns(here, next, bits.height, bits.width, [&](int row, int column) {
      atomicXor(bits.changed + column * bits.words + row / 32, 0xffffffffu << row % 32);
    });
  }
}

// Unites the polygon with what is covered, unless it is broken, and clears its bits for the next one.
__device__ void fill_columns(const Bits& bits, bool broken) {
  for (int64_t column = threadIdx.x; column < bits.width; column += kThreads) {
    uint32_t inside = 0;
    for (int64_t i = column * bits.words; i < (column + 1) * bits.words; ++i) {
      uint32_t word = bits.changed[i] ^ inside;
      inside = word >> 31 ? 0xffffffffu : 0;
      bits.changed[i] = 0;
      if (!broken) bits.covered[i] |= word;
    }
  }
}

__device__ void write_pixels(const Bits& bits, uint8_t* target) {
  int row = threadIdx.x / bits.width, column = threadIdx.x % bits.width;
  int rows = kThreads / bits.width, columns = kThreads % bits.width;
  while (row < bits.height) {
    target[(int64_t)row * bits.width + column] = bits.covered[column * bits.words + row / 32] >> row % 32 & 1;
    row += rows, column += columns;
    if (column >= bits.width) ++row, column -= bits.width;
  }
}

// `broken` is two flags in turn: one is read while the next polygon's is cleared.
__device__ void draw(const Polygons& polygons, int64_t object, const Crop& crop, const Bits& bits, int* broken) {
  clear(bits);
  if (threadIdx.x == 0) broken[0] = 0;
  __syncthreads();
  if (object < 0) return;
  int64_t end = polygons.object_starts[object + 1];
  for (int64_t p = polygons.object_starts[object], turn = 0; p < end; ++p, turn ^= 1) {
    int64_t start = polygons.polygon_starts[p];
    mark_crossings(polygons.points_V2 + 2 * start, polygons.polygon_starts[p + 1] - start, crop, bits, broken + turn);
    __syncthreads();
    fill_columns(bits, broken[turn]);
    if (threadIdx.x == 0) broken[turn ^ 1] = 0;
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads, 8)
    polygon_targets_kernel(Polygons polygons, const int32_t* __restrict__ object_R, const double* __restrict__ boxes_R4,
                           int64_t rois, int height, int width, double min_side, uint8_t* __restrict__ targets_RHW,
                           uint32_t* workspace) {
  DYNAMIC_SHARED(uint32_t, shared);
  SHARED(int, broken, 2);
  int64_t words = words_of(height), pixels = (int64_t)height * width;
  uint32_t* changed = workspace ? workspace + 2 * words * width * blockIdx.x : shared;
  Bits bits = {changed, changed + words * width, words, height, width};
  for (int64_t roi = blockIdx.x; roi < rois; roi += gridDim.x) {
    draw(polygons, object_R[roi], crop_of(boxes_R4, roi, height, width, min_side), bits, broken);
    write_pixels(bits, targets_RHW + roi * pixels);
    __syncthreads();
  }
}

int64_t blocks_of(int64_t rois) { return rois < kMostBlocks ? rois : kMostBlocks; }

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(polygon_targets_workspace)(int64_t rois, int64_t height, int64_t width) {
  using namespace kernels;
  if (!takes_target(rois, height, width)) return 0;
  int64_t bytes = bytes_of(height, width);
  return bytes <= kMostSharedBytes ? 0 : blocks_of(rois) * bytes;
}

KERNEL_API int KERNEL(polygon_targets)(const double* points_V2, const int64_t* polygon_starts,
                                       const int64_t* object_starts, const int32_t* object_R, const double* boxes_R4,
                                       int64_t rois, int64_t height, int64_t width, double min_side,
                                       uint8_t* targets_RHW, void* workspace, void* stream) {
  using namespace kernels;
  if (!takes_target(rois, height, width)) return KERNEL_BAD_ARGUMENT;
  if (rois == 0 || height == 0 || width == 0) return 0;
  Polygons polygons = {points_V2, polygon_starts, object_starts};
  int64_t bytes = bytes_of(height, width);
  bool fits = bytes <= kMostSharedBytes;
  uint32_t* outside = fits ? nullptr : (uint32_t*)workspace;
  if (!fits && !outside) return KERNEL_BAD_ARGUMENT;
  LAUNCH(polygon_targets_kernel, (unsigned)blocks_of(rois), kThreads, fits ? bytes : 0, stream, polygons, object_R,
         boxes_R4, rois, (int)height, (int)width, min_side, targets_RHW, outside);
  return LAUNCHED();
}
