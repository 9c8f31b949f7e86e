// parallel_for for bodies that need memory of their own.
#pragma once
#include <algorithm>
#include <vector>

#include "../shared/portable.h"
#include "parallel.h"

namespace kernels {

// Runs body(begin, end, scratch) over 0..count-1 in pieces of at least `grain`; `scratch` points to `size` values that
// no other piece uses meanwhile. All of it is allocated before the first piece begins.
template <class T, class Body>
void parallel_with_scratch(int64_t count, int64_t grain, int64_t size, const Body& body) {
  int64_t pieces = std::min(ceil_div(count, grain), 4 * thread_count());
  std::vector<T> scratch((size_t)(pieces * size));
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece)
      body(count * piece / pieces, count * (piece + 1) / pieces, scratch.data() + begin * size);
  });
}

}  // namespace kernels
