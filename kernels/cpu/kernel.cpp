// The functions that every library has, but for set_threads, which stands with the pool; see kernel.h.
#include "../include/kernel.h"

KERNEL_API const char* KERNEL(message)(int code) {
  if (code == KERNEL_BAD_ARGUMENT) return "an argument is outside what the operation's header allows";
  if (code == KERNEL_OUT_OF_MEMORY) return "no host memory left";
  return "no such error";
}
