// One text for three compilers: nvcc, the host's (CPU bodies), and the host's for the emulated device.
#pragma once
#include <stdint.h>

#if defined(KERNEL_TARGET_CUDA)
#include <cuda_runtime.h>
#define ON_BOTH __host__ __device__ __forceinline__
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<(grid), (block), (shared_bytes), (cudaStream_t)(stream)>>>(__VA_ARGS__)
#define LAUNCHED() ((int)cudaGetLastError())
#define SHARED(type, name, count) __shared__ type name[count]
#define DYNAMIC_SHARED(type, name)                           \
  extern __shared__ __align__(16) unsigned char dynamic_[];  \
  type* name = reinterpret_cast<type*>(dynamic_)
#elif defined(KERNEL_TARGET_EMULATED)
#include "../emulation/cuda.h"
#define ON_BOTH inline
#else
#define ON_BOTH inline
#endif

namespace kernels {

ON_BOTH int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

}  // namespace kernels
