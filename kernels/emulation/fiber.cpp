#include "fiber.h"

#include <sys/mman.h>

#include <new>

#if defined(EMULATION_TSAN)
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void* __tsan_get_current_fiber(void);
void __tsan_acquire(void* key);
void __tsan_release(void* key);
}
#elif defined(EMULATION_ASAN)
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* size);
}
#endif

namespace emulation {
namespace {

constexpr size_t kStack = 64 << 10;

Fiber* entering = nullptr;
#if defined(EMULATION_TSAN)
constexpr unsigned kNoOrder = 1;  // a switch alone orders nothing: only barriers do
ucontext_t scheduler;
void* scheduler_shadow = nullptr;
#elif defined(EMULATION_ASAN)
ucontext_t scheduler;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;
#else
jmp_buf scheduler_jump;
#endif

}  // namespace

Fiber::Fiber(void (*body)()) : body_(body) {
  void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = (char*)memory;
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStack;
  context_.uc_link = nullptr;
  makecontext(&context_, enter, 0);
#if defined(EMULATION_TSAN)
  shadow_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(EMULATION_TSAN)
  __tsan_destroy_fiber(shadow_);
#endif
  munmap(stack_, kStack);
}

void Fiber::enter() {
#if defined(EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  entering->body_();
}

#if defined(EMULATION_TSAN)

void Fiber::resume() {
  entering = this;
  scheduler_shadow = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(shadow_, kNoOrder);
  swapcontext(&scheduler, &context_);
}

void Fiber::suspend() {
  __tsan_switch_to_fiber(scheduler_shadow, kNoOrder);
  swapcontext(&context_, &scheduler);
}

void release(void* key) { __tsan_release(key); }
void acquire(void* key) { __tsan_acquire(key); }

#elif defined(EMULATION_ASAN)

void Fiber::resume() {
  entering = this;
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_, kStack);
  swapcontext(&scheduler, &context_);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fiber::suspend() {
  __sanitizer_start_switch_fiber(&shadow_, scheduler_stack, scheduler_stack_size);
  swapcontext(&context_, &scheduler);
  __sanitizer_finish_switch_fiber(shadow_, nullptr, nullptr);
}

void release(void*) {}
void acquire(void*) {}

#else

// Jumps leave the signal mask alone: two system calls less than swapcontext, of which tests make millions.
void Fiber::resume() {
  if (_setjmp(scheduler_jump)) return;
  if (started_) _longjmp(jump_, 1);
  started_ = true;
  entering = this;
  setcontext(&context_);
}

void Fiber::suspend() {
  if (!_setjmp(jump_)) _longjmp(scheduler_jump, 1);
}

void release(void*) {}
void acquire(void*) {}

#endif

}  // namespace emulation
