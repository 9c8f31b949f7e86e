// What a candidate is by its best overlap; see match.h.
#pragma once
#include "elementary.h"

namespace kernels {

// Less than any overlap: what a candidate has while it has met no object.
constexpr float kNoOverlap = -1.f;

struct MatchRule {
  float foreground, background;
  int32_t strict, keep;
};

ON_BOTH int8_t match_state(float best, const MatchRule& rule) {
  if (best < 0.f) return 0;
  if (rule.strict ? best > rule.foreground : best >= rule.foreground) return 1;
  return best >= rule.background ? -1 : 0;
}

// The bits of an overlap, which is never negative, are ordered as it is.
ON_BOTH int32_t bits_of(float value) { return same_bits<int32_t>(value); }

// Whether match.h takes these sizes; objects and candidates are numbered in 32 bits.
ON_BOTH bool match_sizes_fit(int64_t batch, int64_t m, int64_t n) {
  return batch >= 0 && m >= 0 && n >= 0 && m <= INT32_MAX && n <= INT32_MAX;
}

}  // namespace kernels
