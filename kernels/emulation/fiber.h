// Stacks of their own for the threads of an emulated block, in the way that the sanitizer in use can follow.
//
// Compiled plainly, with -DEMULATION_ASAN beside AddressSanitizer, or with -DEMULATION_TSAN for kernels that are compiled
// under ThreadSanitizer; this file's own code is never compiled under ThreadSanitizer, whose fibers it drives.
#pragma once
#include <setjmp.h>
#include <stddef.h>
#include <ucontext.h>

namespace emulation {

class Fiber {
 public:
  explicit Fiber(void (*body)());  // `body` never returns: it suspends
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // called by the scheduler; returns when the fiber suspends
  void suspend();  // called on the fiber

 private:
  static void enter();

  void (*body_)();
  bool started_ = false;
  char* stack_;
  ucontext_t context_;
  jmp_buf jump_;
  void* shadow_ = nullptr;  // what a sanitizer keeps of it
};

// Under ThreadSanitizer: memory written before release(key) may be read after acquire(key).
void release(void* key);
void acquire(void* key);

}  // namespace emulation
