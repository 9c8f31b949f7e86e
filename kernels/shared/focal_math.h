// The focal loss of one logit and its derivative; see focal_loss.h.
#pragma once
#include "../include/kernel.h"
#include "elementary.h"

namespace kernels {

inline bool focal_allows(int64_t n, int64_t k, int32_t type, double gamma, double smoothing) {
  bool sizes = n >= 0 && k >= 0 && k <= INT32_MAX, types = type == KERNEL_FLOAT32 || type == KERNEL_FLOAT64;
  return sizes && types && gamma >= 0 && smoothing >= 0 && smoothing <= 1;
}

template <class T>
struct Focal {
  T alpha, other_alpha, gamma, smooth, sharp;

  Focal(double alpha, double gamma, double smoothing)
      : alpha((T)alpha),
        other_alpha((T)(1 - alpha)),
        gamma((T)gamma),
        smooth((T)(smoothing / 2)),
        sharp((T)(1 - smoothing / 2)) {}
};

template <class T>
struct FocalTerm {
  T loss, p, q, weight;  // q = 1 - p, weight = alpha q^gamma

  // sign: 1 where the logit is that of the true class, -1 else.
  ON_BOTH FocalTerm(T x, T sign, const Focal<T>& focal) {
    T size = x < 0 ? -x : x, small = exp_negative(-size), log_sum = log1p_unit(small), near = 1 / (1 + small);
    T right = (x < 0 ? size : T(0)) + log_sum, wrong = (x > 0 ? size : T(0)) + log_sum;  // -log p, -log q
    p = x < 0 ? small * near : near;
    q = x < 0 ? near : small * near;
    weight = (sign > 0 ? focal.alpha : focal.other_alpha) * exp_negative(-focal.gamma * wrong);
    loss = weight * (focal.sharp * right + focal.smooth * wrong);
  }
};

// sign 0: not counted. Infinite logits give the limits: 0 for a certain truth (infinity would make it 0 * infinity),
// infinity for a certain error; NaN gives NaN.
template <class T>
ON_BOTH T focal_loss(T logit, T sign, const Focal<T>& focal) {
  T x = logit * sign;
  x = x > Format<T>::kMost ? Format<T>::kMost : x;
  T loss = FocalTerm<T>(x, sign, focal).loss;
  return sign == 0 ? T(0) : loss;
}

// By the logit. The loss stands in it as a product, since the entropy alone can be beyond all numbers.
template <class T>
ON_BOTH T focal_slope(T logit, T sign, const Focal<T>& focal) {
  T x = logit * sign;
  x = x > Format<T>::kMost ? Format<T>::kMost : x < -Format<T>::kMost ? -Format<T>::kMost : x;
  FocalTerm<T> term(x, sign, focal);
  T slope = term.weight * (focal.smooth * term.p - focal.sharp * term.q) - focal.gamma * (term.p * term.loss);
  return sign == 0 ? T(0) : sign * slope;
}

// Of a logit in a row whose object is `of_row`.
template <class T>
ON_BOTH T focal_sign(int32_t of_row, int64_t column) {
  return of_row < -1 ? T(0) : column == of_row ? T(1) : T(-1);
}

}  // namespace kernels
