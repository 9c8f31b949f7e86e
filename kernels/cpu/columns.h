// Boxes as five columns (x1, y1, x2, y2, area), which vector instructions read from end to end.
#pragma once
#include <stdint.h>

#include <vector>

#include "../shared/box.h"

namespace kernels {

class Columns {
 public:
  Columns(const float* boxes_N4, int64_t n, float one) : size_(n), values_(5 * n) {
    float* at = values_.data();
    for (int64_t j = 0; j < n; ++j) {
      Box box = load_box(boxes_N4, j);
      at[j] = box.x1, at[n + j] = box.y1, at[2 * n + j] = box.x2, at[3 * n + j] = box.y2;
      at[4 * n + j] = kernels::area(box, one);
    }
  }

  int64_t size() const { return size_; }
  const float* area() const { return values_.data() + 4 * size_; }
  Box box(int64_t j) const {
    const float* at = values_.data() + j;
    return {at[0], at[size_], at[2 * size_], at[3 * size_]};
  }

 private:
  int64_t size_;
  std::vector<float> values_;
};

}  // namespace kernels
