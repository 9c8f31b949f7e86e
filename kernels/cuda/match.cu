// See match.h. A thread holds one candidate, the objects pass through shared memory; an object's best overlap is a key
// of 64 bits, kept by atomic maximum: the overlap's bits above, below them its first candidate's number, negated.
#include "../include/match.h"

#include "../shared/box.h"
#include "../shared/device.h"
#include "../shared/match_rule.h"
#include "../shared/workspace.h"

namespace kernels {
namespace {

constexpr int kThreads = 128, kWarp = 32;
constexpr int kObjects = kWarp;  // a block is never smaller, so that each of its first threads fetches one object
constexpr unsigned kAllLanes = 0xffffffffu;

using Key = unsigned long long;  // the type that atomicMax takes

struct Match {
  const float* objects_BM4;
  const uint8_t* present_BM;
  int64_t batch, m;
  const float* candidates;
  int64_t n, candidate_stride;
  float one;
  MatchRule rule;
  int32_t* object_BN;
  int8_t* state_BN;
  Key* best_BM;
};

__device__ __forceinline__ Key key_of(float overlap, int64_t candidate) {
  return overlap > 0.f ? (Key)bits_of(overlap) << 32 | (uint32_t)~candidate : 0;
}
__device__ __forceinline__ int32_t bits_of_key(Key key) { return (int32_t)(key >> 32); }
__device__ __forceinline__ int64_t candidate_of(Key key) { return (uint32_t)~key; }

__device__ __forceinline__ int objects_from(const Match& match, int64_t first) {
  return match.m - first < kObjects ? (int)(match.m - first) : kObjects;
}

// A whole warp comes here; in most there is no overlap at all, and shared memory sees one update a warp at most.
__device__ __forceinline__ void raise(Key* best, float overlap, int64_t candidate) {
  if (!__any_sync(kAllLanes, overlap > 0.f)) return;
  Key key = key_of(overlap, candidate);
  for (int step = kWarp / 2; step > 0; step /= 2) {
    Key other = __shfl_xor_sync(kAllLanes, key, step);
    key = other > key ? other : key;
  }
  if (threadIdx.x % kWarp == 0) atomicMax(best, key);
}

// Objects and states by overlap alone, and each object's best candidate where the rule asks for it.
__global__ void __launch_bounds__(kThreads) match_kernel(Match match) {
  SHARED(Box, box, kObjects);
  SHARED(float, box_area, kObjects);
  SHARED(int, present, kObjects);
  SHARED(Key, top, kObjects);
  int64_t candidate = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  bool inside = candidate < match.n;
  for (int64_t image = blockIdx.y; image < match.batch; image += gridDim.y) {
    Box own = {0.f, 0.f, 0.f, 0.f};
    if (inside) own = load_box(match.candidates + image * match.candidate_stride, candidate);
    float own_area = area(own, match.one), best = kNoOverlap;
    int32_t object = 0;
    for (int64_t first = 0; first < match.m; first += kObjects) {
      int count = objects_from(match, first), mine = threadIdx.x;
      if (mine < count) {
        box[mine] = load_box(match.objects_BM4, image * match.m + first + mine);
        box_area[mine] = area(box[mine], match.one);
        present[mine] = !match.present_BM || match.present_BM[image * match.m + first + mine];
        top[mine] = 0;
      }
      __syncthreads();
      for (int k = 0; k < count; ++k) {
        if (!present[k]) continue;
        float overlap = inside ? iou(box[k], box_area[k], own, own_area, match.one) : 0.f;
        if (overlap > best) best = overlap, object = (int32_t)(first + k);
        if (match.rule.keep != MATCH_KEEP_NONE) raise(&top[k], overlap, candidate);
      }
      __syncthreads();
      if (mine < count && top[mine]) atomicMax(&match.best_BM[image * match.m + first + mine], top[mine]);
    }
    if (inside) match.object_BN[image * match.n + candidate] = object;
    if (inside) match.state_BN[image * match.n + candidate] = match_state(best, match.rule);
  }
}

// Overlaps are computed again, which is cheaper than having stored them.
__global__ void __launch_bounds__(kThreads) keep_ties_kernel(Match match) {
  SHARED(Box, box, kObjects);
  SHARED(float, box_area, kObjects);
  SHARED(int32_t, top, kObjects);
  int64_t candidate = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  bool inside = candidate < match.n;
  for (int64_t image = blockIdx.y; image < match.batch; image += gridDim.y) {
    Box own = {0.f, 0.f, 0.f, 0.f};
    if (inside) own = load_box(match.candidates + image * match.candidate_stride, candidate);
    float own_area = area(own, match.one);
    bool kept = false;
    for (int64_t first = 0; first < match.m; first += kObjects) {
      int count = objects_from(match, first), mine = threadIdx.x;
      if (mine < count) {
        box[mine] = load_box(match.objects_BM4, image * match.m + first + mine);
        box_area[mine] = area(box[mine], match.one);
        top[mine] = bits_of_key(match.best_BM[image * match.m + first + mine]);
      }
      __syncthreads();
      for (int k = 0; k < count; ++k)
        kept = kept || (top[k] && bits_of(iou(box[k], box_area[k], own, own_area, match.one)) == top[k]);
      __syncthreads();
    }
    if (inside && kept) match.state_BN[image * match.n + candidate] = 1;
  }
}

// A thread an object, which leaves its candidate to any earlier object that wants it.
__global__ void __launch_bounds__(kWarp) keep_first_kernel(Match match) {
  int64_t k = (int64_t)blockIdx.x * kWarp + threadIdx.x;
  for (int64_t image = blockIdx.y; image < match.batch; image += gridDim.y) {
    const Key* best_M = match.best_BM + image * match.m;
    if (k >= match.m || best_M[k] == 0) continue;
    int64_t candidate = candidate_of(best_M[k]);
    bool taken = false;
    for (int64_t before = 0; before < k && !taken; ++before)
      taken = best_M[before] != 0 && candidate_of(best_M[before]) == candidate;
    if (taken) continue;
    match.object_BN[image * match.n + candidate] = (int32_t)k;
    match.state_BN[image * match.n + candidate] = 1;
  }
}

int run(const Match& match, void* stream) {
  int threads = match.n < kThreads ? (int)ceil_div(match.n, kWarp) * kWarp : kThreads;
  dim3 grid(blocks_x(match.n, threads), blocks_yz(match.batch, 1));
  if (match.rule.keep != MATCH_KEEP_NONE && match.m > 0) {
    size_t bytes = (size_t)(match.batch * match.m) * sizeof(Key);
    int error = (int)cudaMemsetAsync(match.best_BM, 0, bytes, (cudaStream_t)stream);
    if (error) return error;
  }
  LAUNCH(match_kernel, grid, threads, 0, stream, match);
  if (match.rule.keep == MATCH_KEEP_TIES && match.m > 0)
    LAUNCH(keep_ties_kernel, grid, threads, 0, stream, match);
  if (match.rule.keep == MATCH_KEEP_FIRST && match.m > 0) {
    grid.x = blocks_x(match.m, kWarp);
    LAUNCH(keep_first_kernel, grid, kWarp, 0, stream, match);
  }
  return LAUNCHED();
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(match_workspace)(int64_t batch, int64_t m, int64_t) {
  kernels::Workspace workspace(nullptr);
  workspace.take<kernels::Key>(batch * m);
  return workspace.bytes();
}

KERNEL_API int KERNEL(match)(const float* objects_BM4, const uint8_t* present_BM, int64_t batch, int64_t m,
                             const float* candidates, int64_t n, int64_t candidate_stride, float one, float foreground,
                             float background, int32_t strict, int32_t keep, int32_t* object_BN, int8_t* state_BN,
                             void* workspace, void* stream) {
  using namespace kernels;
  if (!match_sizes_fit(batch, m, n) || keep < MATCH_KEEP_NONE || keep > MATCH_KEEP_FIRST) return KERNEL_BAD_ARGUMENT;
  if (batch == 0 || n == 0) return 0;
  Key* best_BM = Workspace(workspace).take<Key>(batch * m);
  return run({objects_BM4, present_BM, batch, m, candidates, n, candidate_stride, one,
              {foreground, background, strict, keep}, object_BN, state_BN, best_BM}, stream);
}
