// The functions that every library has; see kernel.h.
#include "../include/kernel.h"

#include "../shared/portable.h"

KERNEL_API const char* KERNEL(message)(int code) {
  if (code == KERNEL_BAD_ARGUMENT) return "an argument is outside what the operation's header allows";
  if (code == KERNEL_OUT_OF_MEMORY) return "no host memory left";
#if defined(KERNEL_TARGET_EMULATED)
  return emulation::message();
#else
  return cudaGetErrorString((cudaError_t)code);
#endif
}

KERNEL_API int KERNEL(set_threads)(int64_t threads) { return threads < 1 ? KERNEL_BAD_ARGUMENT : 0; }
