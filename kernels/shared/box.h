// Boxes and their overlap, shared to the bit by CPU and device bodies; compiled without contraction to fused products.
#pragma once
#include "portable.h"

namespace kernels {

struct alignas(16) Box {
  float x1, y1, x2, y2;
};

// Callers' arrays need no alignment beyond that of float.
ON_BOTH Box load_box(const float* boxes_N4, int64_t index) {
  const float* at = boxes_N4 + 4 * index;
  return {at[0], at[1], at[2], at[3]};
}

ON_BOTH float smaller(float a, float b) { return a < b ? a : b; }
ON_BOTH float larger(float a, float b) { return a > b ? a : b; }

ON_BOTH float area(const Box& box, float one) { return (box.x2 - box.x1 + one) * (box.y2 - box.y1 + one); }

// box_iou.h says what is defined.
ON_BOTH float iou(const Box& left, float left_area, const Box& right, float right_area, float one) {
  float width = larger(smaller(left.x2, right.x2) - larger(left.x1, right.x1) + one, 0.f);
  float height = larger(smaller(left.y2, right.y2) - larger(left.y1, right.y1) + one, 0.f);
  float both = width * height;
  float quotient = both / (left_area + right_area - both);
  return quotient > 0.f ? quotient : 0.f;
}

}  // namespace kernels
