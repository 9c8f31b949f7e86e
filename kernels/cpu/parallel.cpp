#include "parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "../include/kernel.h"

namespace kernels {
namespace {

int64_t cpus_allowed() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

class Pool {
 public:
  ~Pool() { resize(1); }

  int64_t size() const { return threads_; }

  void resize(int64_t threads) {
    std::lock_guard<std::mutex> one_caller(callers_);
    stop();
    threads_ = threads;
  }

  void run(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
    std::unique_lock<std::mutex> one_caller(callers_, std::try_to_lock);
    int64_t pieces = std::min(threads_ * 4, (count + grain - 1) / grain);
    if (!one_caller.owns_lock() || threads_ == 1 || pieces <= 1) return body(0, count);
    start();
    {
      std::lock_guard<std::mutex> guard(mutex_);
      body_ = &body, count_ = count, pieces_ = pieces, busy_ = (int64_t)workers_.size(), ++round_;
      next_.store(0);
    }
    wake_.notify_all();
    work();
    std::unique_lock<std::mutex> guard(mutex_);
    done_.wait(guard, [this] { return busy_ == 0; });
  }

 private:
  void start() {
    while ((int64_t)workers_.size() < threads_ - 1) workers_.emplace_back([this, seen = round_] { serve(seen); });
  }

  void stop() {
    {
      std::lock_guard<std::mutex> guard(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  void serve(uint64_t seen) {
    for (;;) {
      {
        std::unique_lock<std::mutex> guard(mutex_);
        wake_.wait(guard, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
      }
      work();
      std::lock_guard<std::mutex> guard(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  void work() {
    for (int64_t piece; (piece = next_.fetch_add(1)) < pieces_;)
      (*body_)(count_ * piece / pieces_, count_ * (piece + 1) / pieces_);
  }

  std::mutex callers_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  std::atomic<int64_t> next_{0}, threads_{cpus_allowed()};
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t count_ = 0, pieces_ = 0, busy_ = 0;
  uint64_t round_ = 0;
  bool stopping_ = false;
};

// A forked child has none of its parent's threads: it starts with a pool of its own and leaves the old one be.
Pool* pool = nullptr;
std::once_flag made;

Pool& the_pool() {
  std::call_once(made, [] {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] {
      int64_t threads = pool->size();
      pool = new Pool;
      pool->resize(threads);
    });
  });
  return *pool;
}

}  // namespace

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count > 0) the_pool().run(count, std::max<int64_t>(grain, 1), body);
}

int64_t thread_count() { return the_pool().size(); }

}  // namespace kernels

KERNEL_API int KERNEL(set_threads)(int64_t threads) {
  if (threads < 1) return KERNEL_BAD_ARGUMENT;
  if (threads != kernels::thread_count()) kernels::the_pool().resize(threads);
  return 0;
}
