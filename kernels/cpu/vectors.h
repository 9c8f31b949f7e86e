// Vectors of 32 bytes by the compiler's own extension, where loops over arrays do not become them by themselves: sums
// that stay in registers, and blocks turned from rows to columns.
#pragma once
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

namespace kernels {

template <class T>
struct Lanes {
  static constexpr int count = 32 / (int)sizeof(T);
  typedef T Vector __attribute__((vector_size(32)));
  typedef int32_t Indices32 __attribute__((vector_size(32)));
  typedef int64_t Indices64 __attribute__((vector_size(32)));
  using Indices = typename std::conditional<sizeof(T) == 4, Indices32, Indices64>::type;
  using All = std::make_integer_sequence<int, count>;
  using Half = std::make_integer_sequence<int, count / 2>;
};

template <class T>
using Vector = typename Lanes<T>::Vector;

// From and to any address.
template <class T>
inline void load(Vector<T>& vector, const T* from) {
  memcpy(&vector, from, sizeof vector);
}
template <class T>
inline void store(const Vector<T>& vector, T* to) {
  memcpy(to, &vector, sizeof vector);
}

// sums[i] += weight * the i-th vector from `from` on.
template <class T, int... i>
inline void add_products(Vector<T>* sums, T weight, const T* from, std::integer_sequence<int, i...>) {
  auto add = [&](Vector<T>& sum, int at) {
    Vector<T> value;
    load<T>(value, from + at * Lanes<T>::count);
    sum += weight * value;
  };
  (add(sums[i], i), ...);
}

#if defined(__clang__)

template <class T>
inline void transpose(Vector<T>* rows) {
  for (int i = 0; i < Lanes<T>::count; ++i)
    for (int j = 0; j < i; ++j) {
      T swapped = rows[i][j];
      rows[i][j] = rows[j][i];
      rows[j][i] = swapped;
    }
}

#else

// Of two rows, swaps the upper half of each block of 2 * `side` lanes of the one with the lower half of the other.
template <class T, int side, int... lane>
inline void swap_halves(Vector<T>& above, Vector<T>& below, std::integer_sequence<int, lane...>) {
  using Indices = typename Lanes<T>::Indices;
  constexpr int count = Lanes<T>::count;
  Vector<T> was = above;
  above = __builtin_shuffle(was, below, Indices{((lane & side) ? count + lane - side : lane)...});
  below = __builtin_shuffle(was, below, Indices{((lane & side) ? count + lane : lane + side)...});
}

template <class T, int side, int... pair>
inline void swap_all(Vector<T>* rows, std::integer_sequence<int, pair...>) {
  (swap_halves<T, side>(rows[pair / side * 2 * side + pair % side], rows[pair / side * 2 * side + pair % side + side],
                        typename Lanes<T>::All()),
   ...);
}

// Rows become columns, in place; as many of them as a vector has lanes.
template <class T>
inline void transpose(Vector<T>* rows) {
  typename Lanes<T>::Half pairs;
  swap_all<T, 1>(rows, pairs);
  swap_all<T, 2>(rows, pairs);
  if constexpr (Lanes<T>::count > 4) swap_all<T, 4>(rows, pairs);
}

#endif

}  // namespace kernels
