// See focal_loss.h. Logits are taken as one long row: vector instructions are full whatever the number of classes.
// Pieces of a fixed size are summed each on its own and then in order, so that the sum does not depend on the threads.
#include "../include/focal_loss.h"

#include <algorithm>

#include "../shared/focal_math.h"
#include "../shared/workspace.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int64_t kPiece = 4096;
constexpr int kBlock = 256, kLanes = 16;

template <class T>
struct Logits {
  const T* values;
  const int32_t* classes_N;
  int64_t count, k;
  Focal<T> focal;

  int64_t pieces() const { return ceil_div(count, kPiece); }

  // Signs of up to kBlock logits from `first` on.
  void fill_signs(int64_t first, int size, T* signs) const {
    int64_t row = first / k, column = first % k;
    for (int at = 0; at < size; ++row, column = 0) {
      int end = (int)std::min<int64_t>(size, at + k - column);
      int32_t of_row = classes_N[row];
      std::fill(signs + at, signs + end, of_row < -1 ? T(0) : T(-1));
      if (of_row >= column && of_row - column < end - at) signs[at + of_row - column] = 1;
      at = end;
    }
  }

  // Calls body(first, size, signs) for all blocks of some pieces.
  template <class Body>
  void for_blocks(int64_t begin, int64_t end, Body body) const {
    T signs[kBlock];
    for (int64_t first = begin * kPiece; first < std::min(end * kPiece, count); first += kBlock) {
      int size = (int)std::min<int64_t>(kBlock, count - first);
      fill_signs(first, size, signs);
      body(first, size, signs);
    }
  }
};

template <class T>
double sum_of_piece(const Logits<T>& logits, int64_t piece) {
  double lanes[kLanes] = {};
  logits.for_blocks(piece, piece + 1, [&](int64_t first, int size, const T* signs) {
    T losses[kBlock] = {};
    for (int j = 0; j < size; ++j) losses[j] = focal_loss(logits.values[first + j], signs[j], logits.focal);
    for (int j = 0; j < kBlock; j += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += (double)losses[j + lane];
  });
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

template <class T>
void total_of(const Logits<T>& logits, T* total, void* memory) {
  double* sums = Workspace(memory).take<double>(logits.pieces());
  parallel_for(logits.pieces(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) sums[piece] = sum_of_piece(logits, piece);
  });
  double sum = 0;
  for (int64_t piece = 0; piece < logits.pieces(); ++piece) sum += sums[piece];
  *total = (T)sum;
}

template <class T>
void gradients_of(const Logits<T>& logits, T upstream, T* gradients) {
  parallel_for(logits.pieces(), 4, [&](int64_t begin, int64_t end) {
    logits.for_blocks(begin, end, [&](int64_t first, int size, const T* signs) {
      const T* values = logits.values + first;
      T* out = gradients + first;
#pragma GCC ivdep
      for (int j = 0; j < size; ++j) out[j] = upstream * focal_slope(values[j], signs[j], logits.focal);
    });
  });
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
                                  double alpha, double gamma, double smoothing, void* total, void* workspace, void*) {
  using namespace kernels;
  if (!focal_allows(n, k, type, gamma, smoothing)) return KERNEL_BAD_ARGUMENT;
  auto run = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    total_of(logits_of<T>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}), out, workspace);
  };
  type == KERNEL_FLOAT32 ? run((float*)total) : run((double*)total);
  return 0;
}

KERNEL_API int KERNEL(focal_loss_backward)(const void* logits_NK, const int32_t* classes_N, int64_t n, int64_t k,
                                           int32_t type, double alpha, double gamma, double smoothing,
                                           const void* upstream, void* gradients_NK, void*) {
  using namespace kernels;
  if (!focal_allows(n, k, type, gamma, smoothing)) return KERNEL_BAD_ARGUMENT;
  auto run = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    gradients_of(logits_of<T>(logits_NK, classes_N, n, k, {alpha, gamma, smoothing}), *(const T*)upstream, out);
  };
  type == KERNEL_FLOAT32 ? run((float*)gradients_NK) : run((double*)gradients_NK);
  return 0;
}
