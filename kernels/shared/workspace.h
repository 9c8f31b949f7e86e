// A caller's workspace cut into arrays; on the host only.
#pragma once
#include <stdint.h>

namespace kernels {

// Cut once from null, it tells how many bytes the same cuts of a workspace need.
class Workspace {
 public:
  explicit Workspace(void* start) : first_((uintptr_t)start), at_(aligned(first_)) {}

  template <class T>
  T* take(int64_t count) {
    T* array = (T*)at_;
    at_ = aligned(at_ + (uintptr_t)count * sizeof(T));
    return array;
  }

  // Callers' memory may begin anywhere: the first array is moved up to where it is aligned.
  int64_t bytes() const { return (int64_t)(at_ - first_) + kAlignment; }

 private:
  static constexpr uintptr_t kAlignment = 64;
  static uintptr_t aligned(uintptr_t at) { return (at + kAlignment - 1) / kAlignment * kAlignment; }

  uintptr_t first_, at_;
};

}  // namespace kernels
