// What every operation's header shares: names, error codes, and the three functions that every library has.
//
// Each operation is one C function of raw pointers and sizes, declared in its own header and written twice, in cpu/ and
// in cuda/. A library holds all functions for one target: cpu_<name>, cuda_<name>, or emulated_<name>, which is the text
// of cuda/ compiled by the host's compiler (emulation/). Declarations are read by harness/kernels/prototypes.py too:
// one statement each, KERNEL_API int KERNEL(name)(arguments);
//
// Conventions. Arrays are dense and row-major unless strides are arguments. Suffixes of arguments are shapes: boxes_N4 is
// [N, 4]. Boxes are x1, y1, x2, y2 in pixels; `one` is 1 where x2 and y2 are the last pixel inside (width =
// x2 - x1 + 1), 0 where they are the far edge. Arguments that say `host` are host memory for every target; all others are
// memory of the target's device. Functions allocate no device memory: callers bring outputs and workspaces, whose sizes
// in bytes <name>_workspace tells. Sizes of 0 are fine. A CUDA function returns once its work is queued on `stream`.
//
// Every function returns 0, a cudaError_t (> 0), or one of the codes below.
#pragma once
#include <stdint.h>

#if defined(KERNEL_TARGET_CUDA)
#define KERNEL(name) cuda_##name
#elif defined(KERNEL_TARGET_EMULATED)
#define KERNEL(name) emulated_##name
#else
#define KERNEL(name) cpu_##name
#endif
#define KERNEL_API extern "C" __attribute__((visibility("default")))

// Before an argument: a pointer to host memory, whatever the target; so is every pointer to pointers.
#define KERNEL_HOST

enum KernelError {
  KERNEL_BAD_ARGUMENT = -1,   // a size, a code or a limit that the operation's header rules out
  KERNEL_OUT_OF_MEMORY = -2,  // host memory
  KERNEL_EMULATION = -3,      // the emulated device found a fault: a barrier that not all threads reach, for one
};

enum KernelType { KERNEL_FLOAT32 = 0, KERNEL_FLOAT64 = 1 };  // `type` arguments

// Levels of a feature pyramid that one call takes at most.
enum { KERNEL_MAX_LEVELS = 8 };

// What the last failed call of this thread was about, in words; never null.
KERNEL_API const char* KERNEL(message)(int code);

// Threads that CPU bodies use, 1 or more; of no effect on a device. Default: the CPUs that the process may run on.
KERNEL_API int KERNEL(set_threads)(int64_t threads);
