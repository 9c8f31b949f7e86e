// CUDA C++ for the host's compiler, so that tests run the very text of cuda/ on a CPU.
//
// Every CUDA thread is a fiber; blocks run one after the other. Covered: grids and blocks of three dimensions, static and
// dynamic shared memory (SHARED, DYNAMIC_SHARED; poisoned for every block), __syncthreads, __syncwarp, shuffles, votes,
// atomics, the limits of a launch. Found: barriers that not all threads of a block reach or that differ, collectives that
// can never complete, too much shared memory. Threads run in order, in reverse, or shuffled (emulated_set_order), since
// what a missing barrier breaks depends on it.
#pragma once
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <functional>

struct dim3 {
  unsigned x, y, z;
  dim3(int64_t x = 1, int64_t y = 1, int64_t z = 1) : x((unsigned)x), y((unsigned)y), z((unsigned)z) {}
};

struct uint3 {
  unsigned x, y, z;
};

namespace emulation {

// Where the running thread is.
struct Place {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern Place place;

void block_barrier(int line);
void warp_barrier(unsigned mask, int line);
// All lanes of the mask meet; returns the value that lane `source` brought, or the own one if there is none such.
uint64_t warp_exchange(unsigned mask, uint64_t value, int source, int line);
unsigned warp_ballot(unsigned mask, bool vote, int line);
void* shared_memory(const void* key, size_t bytes);
void* dynamic_shared_memory();
int launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);
int launched();  // the error of the last launch, which it forgets
const char* message();

inline int lane() {
  const Place& p = place;
  return (int)((p.thread.x + p.block_size.x * (p.thread.y + p.block_size.y * p.thread.z)) & 31);
}

template <class T>
T shuffle(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "shuffles move up to eight bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = warp_exchange(mask, bits, source, line);
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T, class Combine>
T atomic_update(T* at, Combine combine) {
  T seen, wanted;
  __atomic_load(at, &seen, __ATOMIC_RELAXED);
  do wanted = combine(seen);
  while (!__atomic_compare_exchange(at, &seen, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return seen;
}

}  // namespace emulation

// Order of threads: 0 forward, 1 reverse, 2 shuffled anew at every step by `seed`.
extern "C" __attribute__((visibility("default"))) void emulated_set_order(int32_t order, int64_t seed);

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (emulation::place.thread)
#define blockIdx (emulation::place.block)
#define blockDim (emulation::place.block_size)
#define gridDim (emulation::place.grid_size)

#define __syncthreads() emulation::block_barrier(__LINE__)
#define __syncwarp(...) emulation::warp_barrier(0xffffffffu, __LINE__)
#define __ballot_sync(mask, vote) emulation::warp_ballot((mask), (vote), __LINE__)
#define __any_sync(mask, vote) (emulation::warp_ballot((mask), (vote), __LINE__) != 0)
#define __all_sync(mask, vote) (emulation::warp_ballot((mask), !(vote), __LINE__) == 0)
#define __shfl_sync(mask, value, source) emulation::shuffle((mask), (value), (source), __LINE__)
#define __shfl_up_sync(mask, value, by) \
  emulation::shuffle((mask), (value), emulation::lane() - (int)(by), __LINE__)
#define __shfl_down_sync(mask, value, by) \
  emulation::shuffle((mask), (value), emulation::lane() + (int)(by), __LINE__)
#define __shfl_xor_sync(mask, value, by) emulation::shuffle((mask), (value), emulation::lane() ^ (int)(by), __LINE__)

#define __popc __builtin_popcount
#define __popcll __builtin_popcountll
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value ? __builtin_clz((unsigned)value) : 32; }
template <class To, class From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}
inline int __float_as_int(float value) { return bits_as<int>(value); }
inline unsigned __float_as_uint(float value) { return bits_as<unsigned>(value); }
inline float __int_as_float(int value) { return bits_as<float>(value); }
inline float __uint_as_float(unsigned value) { return bits_as<float>(value); }

template <class T, class U>
T atomicAdd(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return seen + (T)value; });
}
template <class T, class U>
T atomicMax(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return seen < (T)value ? (T)value : seen; });
}
template <class T, class U>
T atomicMin(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return (T)value < seen ? (T)value : seen; });
}
template <class T, class U>
T atomicXor(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return seen ^ (T)value; });
}
template <class T, class U>
T atomicOr(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return seen | (T)value; });
}
template <class T, class U>
T atomicAnd(T* at, U value) {
  return emulation::atomic_update(at, [=](T seen) { return seen & (T)value; });
}

using cudaStream_t = void*;
inline int cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t) {
  memset(at, value, bytes);
  return 0;
}

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((void)(stream), emulation::launch((grid), (block), (shared_bytes), [=] { kernel(__VA_ARGS__); }))
#define LAUNCHED() emulation::launched()
#define SHARED(type, name, count) \
  static char name##_key_;        \
  type* name = (type*)emulation::shared_memory(&name##_key_, sizeof(type) * (count))
#define DYNAMIC_SHARED(type, name) type* name = (type*)emulation::dynamic_shared_memory()
