// See nms.h. First all pairs at once: a matrix of bits, whether a box overlaps a worse one of its group, the triangle
// above the diagonal in tiles of 64 x 64. Then a block for each image walks down the tiles: what the boxes that stayed
// leave of a tile is settled from the tile on the diagonal, and the walk ends when enough have stayed.
#include "../include/nms.h"

#include "../shared/box.h"
#include "../shared/device.h"
#include "../shared/workspace.h"

namespace kernels {
namespace {

using Bits = unsigned long long;
constexpr int kTile = 64, kWalkers = 256, kWarps = kWalkers / 32;
constexpr int kAcross = 32;  // blocks for a pair of rows of tiles; each has work enough to be worth its start

// The matrix of an image: for each tile of columns in turn, a word for each row from 0 to the tile's last.
ON_BOTH int64_t words_before(int64_t tile) { return kTile * (tile * (tile + 1) / 2); }

struct Problem {
  const float* boxes_BK4;
  const int32_t* groups_BK;
  const uint8_t* valid_BK;
  int64_t batch, k, tiles;
  float one, limit;
  Bits* matrix_B;
  Bits* stayed_BT;  // of each tile
};

// Columns that the row has to be held against: worse boxes of its group. Few for most rows where there are many groups.
__device__ Bits candidates(const Problem& problem, int64_t row, int64_t first, const int32_t* group) {
  int64_t count = problem.k - first < kTile ? problem.k - first : kTile;
  Bits all = count == kTile ? ~0ull : (1ull << count) - 1;
  if (row >= first) all &= row - first == kTile - 1 ? 0 : ~0ull << (row - first + 1);
  if (!problem.groups_BK) return all;
  Bits same = 0;
  for (int column = 0; column < count; ++column) same |= (Bits)(group[column] == group[kTile + threadIdx.x]) << column;
  return all & same;
}

// One tile; rows and columns are first boxes. boxes: of the columns; group: of the columns, then of the rows.
__device__ void fill_tile(const Problem& problem, int64_t image, int64_t rows, int64_t columns, Box* boxes,
                          int32_t* group) {
  int64_t base = image * problem.k, row = rows + threadIdx.x, column = columns + threadIdx.x;
  if (column < problem.k) boxes[threadIdx.x] = load_box(problem.boxes_BK4, base + column);
  if (problem.groups_BK) {
    group[threadIdx.x] = column < problem.k ? problem.groups_BK[base + column] : 0;
    group[kTile + threadIdx.x] = row < problem.k ? problem.groups_BK[base + row] : 0;
  }
  __syncthreads();
  if (row < problem.k) {
    bool counts = !problem.valid_BK || problem.valid_BK[base + row];
    Bits left = counts ? candidates(problem, row, columns, group) : 0, word = 0;
    Box box = load_box(problem.boxes_BK4, base + row);
    float box_area = area(box, problem.one);
    for (; left; left &= left - 1) {
      int at = __ffsll((long long)left) - 1;
      float overlap = iou(box, box_area, boxes[at], area(boxes[at], problem.one), problem.one);
      word |= (Bits)(overlap > problem.limit) << at;
    }
    problem.matrix_B[image * words_before(problem.tiles) + words_before(columns / kTile) + row] = word;
  }
  __syncthreads();
}

// Rows of tiles in pairs, the longest with the shortest, so that all blocks of the grid have a tile.
__global__ void __launch_bounds__(kTile) nms_matrix_kernel(Problem problem) {
  SHARED(Box, boxes, kTile);
  SHARED(int32_t, group, 2 * kTile);
  int64_t tiles = problem.tiles;
  for (int64_t image = blockIdx.z; image < problem.batch; image += gridDim.z)
    for (int64_t pair = blockIdx.y; pair < ceil_div(tiles, 2); pair += gridDim.y)
      for (int64_t at = blockIdx.x; at <= tiles; at += gridDim.x) {
        bool upper = at < tiles - pair;
        int64_t row = upper ? pair : tiles - 1 - pair, column = upper ? pair + at : at - 1;
        if (upper || row != pair) fill_tile(problem, image, row * kTile, column * kTile, boxes, group);
      }
}

// The columns of a tile that boxes of earlier tiles overlap; each thread brings the union of some rows.
__device__ Bits overlapped_rows(const Bits* column_words, const Bits* stayed_T, int64_t tile) {
  Bits word = 0;
#pragma unroll 4
  for (int64_t row = threadIdx.x; row < tile * kTile; row += kWalkers)
    if (stayed_T[row / kTile] >> (row % kTile) & 1) word |= column_words[row];
  for (int by = 16; by; by /= 2) word |= __shfl_xor_sync(0xffffffffu, word, by);
  return word;
}

// Boxes of the tile that count and exist.
__device__ Bits present(const Problem& problem, int64_t image, int64_t first) {
  int64_t at = first + (threadIdx.x & (kTile - 1));
  bool there = at < problem.k && (!problem.valid_BK || problem.valid_BK[image * problem.k + at]);
  return __ballot_sync(0xffffffffu, there);
}

// Of the boxes left, those that stay, best first and `most` at most; diagonal: the words of the tile's own rows.
__device__ Bits settle(Bits left, const Bits* diagonal, int64_t most) {
  Bits stayed = 0;
  for (int64_t count = 0; left && count < most; ++count) {
    int at = __ffsll((long long)left) - 1;
    stayed |= 1ull << at;
    left &= ~(diagonal[at] | 1ull << at);
  }
  return stayed;
}

__global__ void __launch_bounds__(kWalkers)
    nms_walk_kernel(Problem problem, int64_t max_keep, int32_t* __restrict__ kept_BD, int32_t* __restrict__ count_B) {
  SHARED(Bits, overlapped, kWarps);
  SHARED(Bits, there, 2);
  SHARED(Bits, diagonal, kTile);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int64_t image = blockIdx.x; image < problem.batch; image += gridDim.x) {
    const Bits* matrix = problem.matrix_B + image * words_before(problem.tiles);
    Bits* stayed_T = problem.stayed_BT + image * problem.tiles;
    int64_t count = 0;
    for (int64_t tile = 0; tile < problem.tiles && count < max_keep; ++tile) {
      const Bits* words = matrix + words_before(tile);
      int64_t first = tile * kTile, row = first + threadIdx.x;
      Bits word = overlapped_rows(words, stayed_T, tile), half = present(problem, image, first);
      if (lane == 0) overlapped[warp] = word;
      if (lane == 0 && warp < 2) there[warp] = half;
      if (threadIdx.x < kTile) diagonal[threadIdx.x] = row < problem.k ? words[row] : 0;
      __syncthreads();
      Bits left = there[0] | there[1] << 32;
      for (int other = 0; other < kWarps; ++other) left &= ~overlapped[other];
      Bits stayed = settle(left, diagonal, max_keep - count);  // every thread alike: no barrier to pass it on
      if (threadIdx.x == 0) stayed_T[tile] = stayed;
      if (threadIdx.x < kTile && stayed >> threadIdx.x & 1)
        kept_BD[image * max_keep + count + __popcll(stayed & ((1ull << threadIdx.x) - 1))] = (int32_t)row;
      count += __popcll(stayed);
      __syncthreads();
    }
    if (threadIdx.x == 0) count_B[image] = (int32_t)count;
    for (int64_t slot = count + threadIdx.x; slot < max_keep; slot += kWalkers) kept_BD[image * max_keep + slot] = -1;
  }
}

void place(Problem& problem, Workspace& workspace) {
  problem.tiles = ceil_div(problem.k, kTile);
  problem.matrix_B = workspace.take<Bits>(problem.batch * words_before(problem.tiles));
  problem.stayed_BT = workspace.take<Bits>(problem.batch * problem.tiles);
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(nms_workspace)(int64_t batch, int64_t k, int64_t) {
  kernels::Workspace workspace(nullptr);
  kernels::Problem problem{};
  problem.batch = batch, problem.k = k;
  kernels::place(problem, workspace);
  return workspace.bytes();
}

KERNEL_API int KERNEL(nms)(const float* boxes_BK4, const int32_t* groups_BK, const uint8_t* valid_BK, int64_t batch,
                           int64_t k, float one, float limit, int64_t max_keep, int32_t* kept_BD, int32_t* count_B,
                           void* memory, void* stream) {
  using namespace kernels;
  if (batch < 0 || k < 0 || k > INT32_MAX || max_keep < 0) return KERNEL_BAD_ARGUMENT;
  if (batch == 0) return 0;
  Problem problem{boxes_BK4, groups_BK, valid_BK, batch, k, 0, one, limit, nullptr, nullptr};
  Workspace workspace(memory);
  place(problem, workspace);
  if (k > 0 && max_keep > 0) {
    dim3 grid(problem.tiles < kAcross ? problem.tiles + 1 : kAcross, blocks_yz(problem.tiles, 2), blocks_yz(batch, 1));
    LAUNCH(nms_matrix_kernel, grid, kTile, 0, stream, problem);
    if (int error = LAUNCHED()) return error;
  }
  LAUNCH(nms_walk_kernel, blocks_x(batch, 1), kWalkers, 0, stream, problem, max_keep, kept_BD, count_B);
  return LAUNCHED();
}
