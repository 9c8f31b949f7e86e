// Focal loss of sigmoid outputs (Lin et al. 2017), summed, forward and backward.
//
// With x the logit times +1 for the true class and -1 for the others, p = sigmoid(x), a = alpha or 1 - alpha:
//   loss = a (1 - p)^gamma ((1 - s) (-log p) + s (-log(1 - p))),  s = smoothing / 2
// through softplus, so that no term overflows or loses its digits at any logit. Sums are deterministic: of double
// precision, in an order that depends on the sizes alone. Infinite logits give the limits: no loss where they are right
// (gamma > 0 or no smoothing), infinite loss where they are wrong, finite slopes; a NaN makes total and own slope NaN.
// gamma is 0 or more, smoothing 0..1.
#pragma once
#include "kernel.h"

KERNEL_API int64_t KERNEL(focal_loss_workspace)(int64_t n, int64_t k);

// logits_NK: values of `type` (KernelType). classes_N: int32, 0..K-1 the true class, -1 background, lower: not counted.
// total: one value of `type`.
KERNEL_API int KERNEL(focal_loss)(const void* logits_NK, const int32_t* classes_N, int64_t n, int64_t k, int32_t type,
                                  double alpha, double gamma, double smoothing, void* total, void* workspace,
                                  void* stream);

// upstream: one value of `type`, the gradient of the total. gradients_NK: values of `type`, 0 where not counted.
KERNEL_API int KERNEL(focal_loss_backward)(const void* logits_NK, const int32_t* classes_N, int64_t n, int64_t k,
                                           int32_t type, double alpha, double gamma, double smoothing,
                                           const void* upstream, void* gradients_NK, void* stream);
