// See match.h. Tiles of candidates meet every object of their image; what is kept of a tile is each object's best
// overlap in it. Where candidates are kept for an object, only tiles that hold its best overlap are gone through again.
#include "../include/match.h"

#include <algorithm>
#include <new>

#include "../shared/match_rule.h"
#include "../shared/workspace.h"
#include "parallel.h"
#include "tile.h"

namespace kernels {
namespace {

constexpr int64_t kPairsPerPiece = 1 << 16;
using BoxTile = Tile<512>;

struct Match {
  const float* objects_BM4;
  const uint8_t* present_BM;
  int64_t m;
  const float* candidates;
  int64_t n, candidate_stride, tiles;
  float one;
  MatchRule rule;
  int32_t* object_BN;
  int8_t* state_BN;
  int32_t *tops_BTM, *tops_BM;  // bits of overlaps, 0 where there is none

  bool present(int64_t image, int64_t k) const { return !present_BM || present_BM[image * m + k]; }
  Box object(int64_t image, int64_t k) const { return load_box(objects_BM4, image * m + k); }
  const float* boxes(int64_t image) const { return candidates + image * candidate_stride; }
  int32_t* tile_tops(int64_t image, int64_t tile) const { return tops_BTM + (image * tiles + tile) * m; }
};

// The best object of each candidate of a tile, so far.
struct Best {
  alignas(64) float overlap[BoxTile::capacity];
  alignas(64) int32_t object[BoxTile::capacity];
};

int32_t meet(const Box& object, int32_t number, const BoxTile& tile, float one, Best& best) {
  float object_area = area(object, one);
  int32_t top = 0;
#pragma GCC ivdep
  for (int j = 0; j < tile.size; ++j) {
    float overlap = iou(object, object_area, tile.box(j), tile.areas[j], one), before = best.overlap[j];
    best.object[j] = overlap > before ? number : best.object[j];
    best.overlap[j] = overlap > before ? overlap : before;
    top = std::max(top, bits_of(overlap));
  }
  return top;
}

void match_tile(const Match& match, int64_t image, int64_t number) {
  int64_t first = number * BoxTile::capacity;
  BoxTile tile(match.boxes(image), first, match.n, match.one);
  Best best;
  std::fill_n(best.overlap, tile.size, kNoOverlap);
  std::fill_n(best.object, tile.size, 0);
  int32_t* tops_M = match.tile_tops(image, number);
  for (int64_t k = 0; k < match.m; ++k)
    tops_M[k] = match.present(image, k) ? meet(match.object(image, k), (int32_t)k, tile, match.one, best) : 0;
  int32_t* object_N = match.object_BN + image * match.n + first;
  int8_t* state_N = match.state_BN + image * match.n + first;
  std::copy_n(best.object, tile.size, object_N);
  for (int j = 0; j < tile.size; ++j) state_N[j] = match_state(best.overlap[j], match.rule);
}

void find_tops(const Match& match, int64_t image) {
  int32_t* tops_M = match.tops_BM + image * match.m;
  std::fill_n(tops_M, match.m, 0);
  for (int64_t tile = 0; tile < match.tiles; ++tile) {
    const int32_t* tile_M = match.tile_tops(image, tile);
    for (int64_t k = 0; k < match.m; ++k) tops_M[k] = std::max(tops_M[k], tile_M[k]);
  }
}

void keep_ties(const Match& match, int64_t image, int64_t number) {
  const int32_t *tops_M = match.tops_BM + image * match.m, *tile_M = match.tile_tops(image, number);
  for (int64_t k = 0; k < match.m; ++k) {
    if (tops_M[k] == 0 || tile_M[k] != tops_M[k]) continue;
    int64_t first = number * BoxTile::capacity;
    BoxTile tile(match.boxes(image), first, match.n, match.one);
    Box object = match.object(image, k);
    float object_area = area(object, match.one);
    int8_t* state_N = match.state_BN + image * match.n + first;
    for (int j = 0; j < tile.size; ++j) {
      bool ties = bits_of(iou(object, object_area, tile.box(j), tile.areas[j], match.one)) == tops_M[k];
      state_N[j] = ties ? 1 : state_N[j];
    }
  }
}

// The first candidate of the object's best overlap, -1 if it overlaps none.
int64_t first_best(const Match& match, int64_t image, int64_t k) {
  int32_t top = match.tops_BM[image * match.m + k];
  if (top == 0) return -1;
  int64_t tile = 0;
  while (match.tile_tops(image, tile)[k] != top) ++tile;
  Box object = match.object(image, k);
  float object_area = area(object, match.one);
  for (int64_t j = tile * BoxTile::capacity;; ++j) {
    Box candidate = load_box(match.boxes(image), j);
    if (bits_of(iou(object, object_area, candidate, area(candidate, match.one), match.one)) == top) return j;
  }
}

// From the last object to the first: where several take one candidate, the first has the last word.
void keep_first(const Match& match, int64_t image) {
  for (int64_t k = match.m - 1; k >= 0; --k) {
    int64_t j = first_best(match, image, k);
    if (j < 0) continue;
    match.object_BN[image * match.n + j] = (int32_t)k;
    match.state_BN[image * match.n + j] = 1;
  }
}

void run(const Match& match, int64_t batch) {
  int64_t grain = 1 + kPairsPerPiece / ((match.m + 1) * BoxTile::capacity);
  auto for_tiles = [&](void (*body)(const Match&, int64_t, int64_t)) {
    parallel_for(batch * match.tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) body(match, tile / match.tiles, tile % match.tiles);
    });
  };
  for_tiles(match_tile);
  if (match.rule.keep == MATCH_KEEP_NONE) return;
  for (int64_t image = 0; image < batch; ++image) find_tops(match, image);
  if (match.rule.keep == MATCH_KEEP_TIES) return for_tiles(keep_ties);
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) keep_first(match, image);
  });
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(match_workspace)(int64_t batch, int64_t m, int64_t n) {
  using namespace kernels;
  Workspace workspace(nullptr);
  workspace.take<int32_t>(batch * ceil_div(n, BoxTile::capacity) * m);
  workspace.take<int32_t>(batch * m);
  return workspace.bytes();
}

KERNEL_API int KERNEL(match)(const float* objects_BM4, const uint8_t* present_BM, int64_t batch, int64_t m,
                             const float* candidates, int64_t n, int64_t candidate_stride, float one, float foreground,
                             float background, int32_t strict, int32_t keep, int32_t* object_BN, int8_t* state_BN,
                             void* workspace, void*) try {
  using namespace kernels;
  if (!match_sizes_fit(batch, m, n) || keep < MATCH_KEEP_NONE || keep > MATCH_KEEP_FIRST) return KERNEL_BAD_ARGUMENT;
  if (batch == 0 || n == 0) return 0;
  int64_t tiles = ceil_div(n, BoxTile::capacity);
  Workspace parts(workspace);
  int32_t *tops_BTM = parts.take<int32_t>(batch * tiles * m), *tops_BM = parts.take<int32_t>(batch * m);
  run({objects_BM4, present_BM, m, candidates, n, candidate_stride, tiles, one, {foreground, background, strict, keep},
       object_BN, state_BN, tops_BTM, tops_BM}, batch);
  return 0;
} catch (const std::bad_alloc&) {
  return KERNEL_OUT_OF_MEMORY;
}
