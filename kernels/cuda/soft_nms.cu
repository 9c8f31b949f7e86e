// See soft_nms.h. One block for each image; a thread looks after every 512th candidate. A round is one pass, in which
// the scores are lowered by the last one taken and the best is looked for, and one barrier.
#include "../include/soft_nms.h"

#include "../shared/box.h"
#include "../shared/device.h"
#include "../shared/soften.h"
#include "../shared/workspace.h"

namespace kernels {
namespace {

using Key = unsigned long long;  // score above index, so that the greatest is the best; 0: none
constexpr int kThreads = 512, kWarps = kThreads / 32;

struct Problem {
  const float *boxes_BC4, *scores_BC;
  const int32_t* classes_BC;
  int64_t batch, c;
  float sigma, threshold;
  float* left_BC;
};

// Unsigned integers that stand in the order of the scores, -0 being 0; among equals the first index is the greatest.
__device__ Key key_of(float score, int64_t index) {
  unsigned bits = __float_as_uint(score + 0.f);
  bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
  return (Key)bits << 32 | (0xffffffffu - (unsigned)index);
}

__device__ int64_t index_of(Key key) { return 0xffffffffu - (unsigned)key; }

__device__ Key greater(Key one, Key other) { return one > other ? one : other; }

__device__ Key greatest_of_warp(Key key) {
  for (int by = 16; by; by /= 2) key = greater(key, __shfl_xor_sync(0xffffffffu, key, by));
  return key;
}

// Lowers what overlaps the candidate taken last (`none`: nothing was taken yet) and finds the best of the thread's own.
__device__ Key pass(const Problem& problem, int64_t base, bool none, int64_t taken) {
  const int32_t* classes_C = problem.classes_BC + base;
  float* left_C = problem.left_BC + base;
  int32_t its_class = none ? 0 : classes_C[taken];
  Box its_box = none ? Box{} : load_box(problem.boxes_BC4, base + taken);
  float its_area = area(its_box, 0.f);
  Key best = 0;
  for (int64_t i = threadIdx.x; i < problem.c; i += kThreads) {
    float score = none ? problem.scores_BC[base + i] : left_C[i];
    if (none) left_C[i] = score;
    if (!(score > problem.threshold)) continue;
    if (!none && classes_C[i] == its_class) {
      Box box = load_box(problem.boxes_BC4, base + i);
      score = softened(score, iou(its_box, its_area, box, area(box, 0.f), 0.f), problem.sigma);
      left_C[i] = score = i == taken ? -INFINITY : score;
    }
    if (score > problem.threshold) best = greater(best, key_of(score, i));
  }
  return best;
}

__global__ void __launch_bounds__(kThreads)
    soft_nms_kernel(Problem problem, int64_t max_keep, int32_t* __restrict__ kept_BD, float* __restrict__ scores_BD) {
  SHARED(Key, of_warp, 2 * kWarps);  // in turns, so that one barrier a round is enough
  int warp = threadIdx.x / 32, turn = 0;
  for (int64_t image = blockIdx.x; image < problem.batch; image += gridDim.x) {
    int64_t base = image * problem.c, first = image * max_keep, slot = 0, taken = 0;
    for (; slot < max_keep; ++slot) {
      Key best = greatest_of_warp(pass(problem, base, slot == 0, taken));
      turn = kWarps - turn;
      if (threadIdx.x % 32 == 0) of_warp[turn + warp] = best;
      __syncthreads();
      for (int other = 0; other < kWarps; ++other) best = greater(best, of_warp[turn + other]);
      if (!best) break;
      taken = index_of(best);
      if (taken % kThreads == threadIdx.x) {
        kept_BD[first + slot] = (int32_t)taken;
        scores_BD[first + slot] = problem.left_BC[base + taken];
      }
    }
    for (slot += threadIdx.x; slot < max_keep; slot += kThreads) kept_BD[first + slot] = 0, scores_BD[first + slot] = 0;
  }
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(soft_nms_workspace)(int64_t batch, int64_t c) {
  kernels::Workspace workspace(nullptr);
  workspace.take<float>(batch * c);
  return workspace.bytes();
}

KERNEL_API int KERNEL(soft_nms)(const float* boxes_BC4, const float* scores_BC, const int32_t* classes_BC,
                                int64_t batch, int64_t c, float sigma, float score_threshold, int64_t max_keep,
                                int32_t* kept_BD, float* kept_scores_BD, void* memory, void* stream) {
  using namespace kernels;
  if (batch < 0 || c < 0 || c > INT32_MAX || max_keep < 0 || !(sigma > 0)) return KERNEL_BAD_ARGUMENT;
  if (batch == 0 || max_keep == 0) return 0;
  float* left_BC = Workspace(memory).take<float>(batch * c);
  Problem problem{boxes_BC4, scores_BC, classes_BC, batch, c, sigma, score_threshold, left_BC};
  LAUNCH(soft_nms_kernel, blocks_x(batch, 1), kThreads, 0, stream, problem, max_keep, kept_BD, kept_scores_BD);
  return LAUNCHED();
}
