// Boxes from the offsets that a head gives for anchors, clipped and sieved; see select_boxes.h. The exponential is our
// own, so that which boxes are large enough is the same on every device.
#pragma once
#include "box.h"
#include "elementary.h"

namespace kernels {

struct BoxCode {
  float one, weight_xy, weight_wh, log_limit;
};

struct Sieve {
  float one, min_size;
  int32_t ordered;
};

ON_BOTH float negative(float value) { return value < 0.f ? value : -value; }

ON_BOTH float sigmoid(float logit) {
  float small = exp_negative(negative(logit)), share = 1.f / (1.f + small);
  return logit < 0.f ? small * share : share;
}

// How many times an anchor's side the box's is.
ON_BOTH float growth(float offset, const BoxCode& code) {
  float log = offset / code.weight_wh;
  log = log > code.log_limit ? code.log_limit : log;
  float small = exp_negative(negative(log));
  return log > 0.f ? 1.f / small : small;
}

// Offsets stand in a box's places: dx, dy, dw, dh.
ON_BOTH Box decode(const Box& offsets, const Box& anchor, const BoxCode& code) {
  float width = anchor.x2 - anchor.x1 + code.one, height = anchor.y2 - anchor.y1 + code.one;
  float x = offsets.x1 / code.weight_xy * width + (anchor.x1 + 0.5f * width);
  float y = offsets.y1 / code.weight_xy * height + (anchor.y1 + 0.5f * height);
  float half_width = 0.5f * (growth(offsets.x2, code) * width);
  float half_height = 0.5f * (growth(offsets.y2, code) * height);
  return {x - half_width, y - half_height, x + half_width - code.one, y + half_height - code.one};
}

// A NaN stays one.
ON_BOTH float clipped(float value, float limit) {
  float low = value > limit ? limit : value;
  return low < 0.f ? 0.f : low;
}

ON_BOTH Box clip(const Box& box, float height, float width, const Sieve& sieve) {
  float right = width - sieve.one, bottom = height - sieve.one;
  Box inside = {clipped(box.x1, right), clipped(box.y1, bottom), clipped(box.x2, right), clipped(box.y2, bottom)};
  if (!sieve.ordered) return inside;
  return {inside.x1, inside.y1, larger(inside.x1, inside.x2), larger(inside.y1, inside.y2)};
}

ON_BOTH bool large_enough(const Box& box, const Sieve& sieve) {
  return (box.x2 - box.x1 + sieve.one >= sieve.min_size) & (box.y2 - box.y1 + sieve.one >= sieve.min_size);
}

}  // namespace kernels
