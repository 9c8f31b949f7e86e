// exp and log1p where losses need them, of basic operations alone: every compiler gives the same bits, none of them
// branches, and loops over them become vector instructions. Errors are below two units in the last place.
#pragma once
#include <string.h>

#include "portable.h"

namespace kernels {

template <class T>
struct Format;

// ln 2 is split so that the high part times any exponent is exact. The series end where their next term is lost.
template <>
struct Format<float> {
  using Bits = uint32_t;
  static constexpr int kFraction = 23, kBias = 127, kExpTerms = 7, kLogTerms = 6;
  static constexpr float kMost = 3.4028234664e38f, kLowestExp = -87.3365402f, kRound = 12582912.f;  // 1.5 * 2^23
  static constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
};

template <>
struct Format<double> {
  using Bits = uint64_t;
  static constexpr int kFraction = 52, kBias = 1023, kExpTerms = 13, kLogTerms = 15;
  static constexpr double kMost = 1.7976931348623157e308, kLowestExp = -708.39, kRound = 0x1.8p52;
  static constexpr double kLog2E = 1.4426950408889634, kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
};

template <class To, class From>
ON_BOTH To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}

// e^x for x <= 0; 0 where that is below the smallest normal number.
template <class T>
ON_BOTH T exp_negative(T x) {
  using F = Format<T>;
  using Bits = typename F::Bits;
  T rounded = x * F::kLog2E + F::kRound;  // its last bits are the power of two
  T power = rounded - F::kRound, rest = (x - power * F::kLn2High) - power * F::kLn2Low;
  constexpr double inverse[] = {1,           1,           1. / 2,       1. / 6,        1. / 24,
                                1. / 120,    1. / 720,    1. / 5040,    1. / 40320,    1. / 362880,
                                1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800};  // of factorials
  T series = (T)inverse[F::kExpTerms];
#if !defined(__CUDACC__)
#pragma GCC unroll 16
#endif
  for (int term = F::kExpTerms - 1; term >= 0; --term) series = series * rest + (T)inverse[term];
  Bits scale = (same_bits<Bits>(rounded) - same_bits<Bits>(F::kRound) + F::kBias) << F::kFraction;
  return x < F::kLowestExp ? T(0) : series * same_bits<T>(scale);
}

// log(1 + x) for 0 <= x <= 1, as 2 atanh(x / (2 + x)).
template <class T>
ON_BOTH T log1p_unit(T x) {
  T half = x / (T(2) + x), square = half * half, series = 0;
#if !defined(__CUDACC__)
#pragma GCC unroll 16
#endif
  for (int term = Format<T>::kLogTerms; term >= 0; --term) series = series * square + T(2) / T(2 * term + 1);
  return half * series;
}

}  // namespace kernels
