// See focal_loss.h. A warp sums a piece of a fixed size at a time, and one block sums the pieces: which numbers are
// added in which order depends on nothing but the sizes.
#include "../include/focal_loss.h"

#include "../shared/device.h"
#include "../shared/focal_math.h"
#include "../shared/workspace.h"

namespace kernels {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kPiece = 1024;

template <class T>
struct Logits {
  const T* values;
  const int32_t* classes_N;
  int64_t count, k;
  Focal<T> focal;
};

// Where a piece begins. Its other places follow from there by division of 32 bits, which is several times cheaper.
struct Start {
  int64_t row;
  uint32_t column, k;

  __device__ Start(int64_t first, int64_t k) : row(first / k), column((uint32_t)(first % k)), k((uint32_t)k) {}

  template <class T>
  __device__ T sign(const int32_t* classes_N, int offset) const {
    uint32_t place = column + (uint32_t)offset, rows = place / k;
    return focal_sign<T>(classes_N[row + rows], place - rows * k);
  }
};

__device__ double sum_of_warp(double value) {
  for (int by = 16; by; by /= 2) value += __shfl_xor_sync(0xffffffffu, value, by);
  return value;
}

template <class T>
__global__ void __launch_bounds__(kThreads) focal_pieces_kernel(Logits<T> logits, int64_t pieces, double* sums) {
  int lane = threadIdx.x % 32;
  for (int64_t piece = (int64_t)blockIdx.x * kWarps + threadIdx.x / 32; piece < pieces;
       piece += (int64_t)gridDim.x * kWarps) {
    int64_t first = piece * kPiece;
    int size = logits.count - first < kPiece ? (int)(logits.count - first) : kPiece;
    Start start(first, logits.k);
    double sum = 0;
    for (int at = lane; at < size; at += 32)
      sum += (double)focal_loss(logits.values[first + at], start.sign<T>(logits.classes_N, at), logits.focal);
    sum = sum_of_warp(sum);
    if (lane == 0) sums[piece] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) focal_total_kernel(const double* sums, int64_t pieces, T* total) {
  SHARED(double, of_warp, kWarps);
  double sum = 0;
  for (int64_t piece = threadIdx.x; piece < pieces; piece += kThreads) sum += sums[piece];
  sum = sum_of_warp(sum);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += of_warp[warp];
    *total = (T)sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    focal_gradients_kernel(Logits<T> logits, int64_t pieces, const T* upstream, T* gradients) {
  int lane = threadIdx.x % 32;
  for (int64_t piece = (int64_t)blockIdx.x * kWarps + threadIdx.x / 32; piece < pieces;
       piece += (int64_t)gridDim.x * kWarps) {
    int64_t first = piece * kPiece;
    int size = logits.count - first < kPiece ? (int)(logits.count - first) : kPiece;
    Start start(first, logits.k);
    for (int at = lane; at < size; at += 32)
      gradients[first + at] =
          *upstream * focal_slope(logits.values[first + at], start.sign<T>(logits.classes_N, at), logits.focal);
  }
}

template <class T>
int total_of(Logits<T> logits, T* total, void* memory, void* stream) {
  int64_t pieces = ceil_div(logits.count, kPiece);
  double* sums = Workspace(memory).take<double>(pieces);
  if (pieces > 0) {
    LAUNCH(focal_pieces_kernel<T>, blocks_x(pieces, kWarps), kThreads, 0, stream, logits, pieces, sums);
    if (int error = LAUNCHED()) return error;
  }
  LAUNCH(focal_total_kernel<T>, 1, kThreads, 0, stream, sums, pieces, total);
  return LAUNCHED();
}

template <class T>
int gradients_of(Logits<T> logits, const T* upstream, T* gradients, void* stream) {
  int64_t pieces = ceil_div(logits.count, kPiece);
  if (pieces == 0) return 0;
  LAUNCH(focal_gradients_kernel<T>, blocks_x(pieces, kWarps), kThreads, 0, stream, logits, pieces, upstream, gradients);
  return LAUNCHED();
}

template <class T>
Logits<T> logits_of(const void* values, const int32_t* classes_N, int64_t n, int64_t k, Focal<T> focal) {
  return {(const T*)values, classes_N, n * k, k, focal};
}

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(focal_loss_workspace)(int64_t n, int64_t k) {
  kernels::Workspace workspace(nullptr);
  workspace.take<double>(kernels::ceil_div(n * k, kernels::kPiece));
  return workspace.bytes();
}

KERNEL_API int KERNEL(focal_loss)(const void* logits_NK, const int32_t* classes_N, int64_t n, int64_t k, int32_t type,
                                  double alpha, double gamma, double smoothing, void* total, void* workspace,
                                  void* stream) {
  using namespace kernels;
  if (!focal_allows(n, k, type, gamma, smoothing)) return KERNEL_BAD_ARGUMENT;
  if (type == KERNEL_FLOAT32)
    return total_of(logits_of<float>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}), (float*)total, workspace,
                    stream);
  return total_of(logits_of<double>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}), (double*)total, workspace,
                  stream);
}

KERNEL_API int KERNEL(focal_loss_backward)(const void* logits_NK, const int32_t* classes_N, int64_t n, int64_t k,
                                           int32_t type, double alpha, double gamma, double smoothing,
                                           const void* upstream, void* gradients_NK, void* stream) {
  using namespace kernels;
  if (!focal_allows(n, k, type, gamma, smoothing)) return KERNEL_BAD_ARGUMENT;
  if (type == KERNEL_FLOAT32)
    return gradients_of(logits_of<float>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}),
                        (const float*)upstream, (float*)gradients_NK, stream);
  return gradients_of(logits_of<double>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}),
                      (const double*)upstream, (double*)gradients_NK, stream);
}
