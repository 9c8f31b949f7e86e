// A program that calls every operation on small inputs, for runs under a sanitizer; one file an operation.
//
// Every array is an allocation of its own and of exactly its size, so that AddressSanitizer sees one byte too far.
#pragma once
#include <stdint.h>

#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel.h"

// Operations make themselves known before main, whichever are linked.
struct Operation {
  Operation(const char* name, void (*run)());
};

inline void check(int code) {
  if (code) throw std::runtime_error(std::to_string(code) + ", " + KERNEL(message)(code));
}

using Random = std::mt19937;

inline float uniform(Random& random, float low, float high) {
  return low + (high - low) * (float)(random() >> 8) * 0x1p-24f;
}

inline std::vector<float> uniforms(Random& random, int64_t count, float low, float high) {
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random, low, high);
  return values;
}

inline std::vector<int32_t> integers(Random& random, int64_t count, int32_t below) {
  std::vector<int32_t> values(count);
  for (int32_t& value : values) value = (int32_t)(random() % (uint32_t)below);
  return values;
}

// Boxes of 5 to 45 pixels a side in an image of 100: float [N, 4].
template <class T = float>
std::vector<T> boxes(Random& random, int64_t count) {
  std::vector<T> values(4 * count);
  for (int64_t i = 0; i < count; ++i) {
    float x = uniform(random, 0, 60), y = uniform(random, 0, 60);
    values[4 * i] = x, values[4 * i + 1] = y;
    values[4 * i + 2] = x + uniform(random, 5, 45), values[4 * i + 3] = y + uniform(random, 5, 45);
  }
  return values;
}
