// The emulated device: launches, blocks, barriers and warps; see cuda.h.
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../include/kernel.h"
#include "cuda.h"
#include "fiber.h"

namespace emulation {

Place place;

namespace {

constexpr int kWarp = 32, kSets = 3;
constexpr size_t kSharedLimit = 48 << 10;
constexpr char kPoison = (char)0xCD;

struct Fault {
  std::string what;
};

enum class State { kReady, kAtBlock, kAtWarp, kDone };

struct Thread {
  uint3 index;
  State state = State::kReady;
  int line = 0;        // of the barrier or collective that it waits at
  unsigned mask = 0;   // of the collective
  uint64_t value = 0;  // brought to it, and taken from it
  int source = 0;
  bool vote = false;
  unsigned ballot = 0;
  char* fence = nullptr;  // what it releases and acquires there
  Fiber* fiber = nullptr;
};

// Memory that a sanitizer guards: a block of its own from malloc, or, under ThreadSanitizer, which watches malloc and
// takes what it hands out twice for one thing, from pages that are used once.
char* poisoned(size_t bytes) {
#if defined(EMULATION_TSAN)
  static char pages[256 << 20];
  static size_t used = 0;
  size_t at = used;
  used += (bytes + 127) / 64 * 64;
  if (used > sizeof pages) fprintf(stderr, "emulation: no shared memory left under ThreadSanitizer\n"), abort();
  char* memory = pages + at;
#else
  char* memory = (char*)malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
#endif
  for (volatile char* byte = memory; byte < memory + bytes; ++byte) *byte = kPoison;
  return memory;
}

void give_back(char* memory) {
#if !defined(EMULATION_TSAN)
  free(memory);
#else
  (void)memory;
#endif
}

struct SharedArray {
  const void* key;
  char* memory;
};

class Device {
 public:
  int order = 0;
  int64_t seed = 0;
  int error = 0;
  std::string message;

  int launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

  Thread& current() { return threads_[running_]; }
  void wait_at_block(int line);
  Thread& wait_at_warp(unsigned mask, int line, bool fence);
  void* shared(const void* key, size_t bytes);
  void* dynamic() { return dynamic_; }

 private:
  static void fiber_body();
  void check(dim3 grid, dim3 block, size_t shared_bytes) const;
  void run_block(size_t shared_bytes);
  void set_up(size_t shared_bytes);
  void tear_down();
  int next_unstarted();
  void start_all();
  void resume(int thread);
  bool release_warps();
  bool warp_complete(int first, int leader) const;
  void release_warp(int first, int leader);
  void release_block();
  char* fence() { return &fences_[++fences_used_ % sizeof fences_]; }

  std::vector<Thread> threads_;
  std::vector<int> order_;
  size_t unstarted_ = 0;
  int running_ = 0;
  const std::function<void()>* kernel_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<Fiber*> sets_[kSets];
  size_t blocks_run_ = 0;
  std::vector<SharedArray> arrays_;
  size_t shared_used_ = 0;
  char* dynamic_ = nullptr;
  char* block_fence_ = nullptr;
  std::vector<char*> warp_fences_;
  std::mt19937_64 random_;
  char fences_[1 << 20];
  size_t fences_used_ = 0;
  char start_of_launch_, end_of_launch_;
};

Device device;

void Device::check(dim3 grid, dim3 block, size_t shared_bytes) const {
  int64_t threads = (int64_t)block.x * block.y * block.z;
  if (threads < 1 || threads > 1024 || block.z > 64) throw Fault{"a block of " + std::to_string(threads) + " threads"};
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw Fault{"a grid outside 1..2147483647 x 1..65535 x 1..65535"};
  if (shared_bytes > kSharedLimit) throw Fault{"dynamic shared memory above 48 KiB"};
}

int Device::launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  try {
    check(grid, block, shared_bytes);
    kernel_ = &kernel;
    place.block_size = block, place.grid_size = grid;
    random_.seed((uint64_t)seed);
    threads_.assign((size_t)block.x * block.y * block.z, Thread());
    release(&start_of_launch_);
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) place.block = {x, y, z}, run_block(shared_bytes);
    acquire(&end_of_launch_);
  } catch (const Fault& fault) {
    // fibers in the middle of a kernel hold its stack frames: new ones from here on
    fibers_.clear(), idle_.clear();
    for (auto& set : sets_) set.clear();
    tear_down();
    error = KERNEL_EMULATION, message = "emulated device: " + fault.what;
  }
  return error;
}

void Device::set_up(size_t shared_bytes) {
  dim3 size = place.block_size;
  for (size_t t = 0; t < threads_.size(); ++t) {
    threads_[t] = Thread();
    unsigned at = (unsigned)t;
    threads_[t].index = {at % size.x, at / size.x % size.y, at / (size.x * size.y)};
  }
  order_.resize(threads_.size());
  std::iota(order_.begin(), order_.end(), 0);
  if (order == 1) std::reverse(order_.begin(), order_.end());
  if (order == 2) std::shuffle(order_.begin(), order_.end(), random_);
  unstarted_ = 0;
  dynamic_ = poisoned(shared_bytes), shared_used_ = shared_bytes;
  block_fence_ = fence();
  warp_fences_.assign((threads_.size() + kWarp - 1) / kWarp, nullptr);
  for (char*& warp_fence : warp_fences_) warp_fence = fence();
}

void Device::tear_down() {
  for (SharedArray& array : arrays_) give_back(array.memory);
  arrays_.clear();
  if (dynamic_) give_back(dynamic_);
  dynamic_ = nullptr;
}

void Device::run_block(size_t shared_bytes) {
  set_up(shared_bytes);
  start_all();
  for (;;) {
    if (release_warps()) continue;
    size_t done = 0, waiting = 0;
    for (const Thread& thread : threads_) done += thread.state == State::kDone, waiting += thread.state == State::kAtBlock;
    if (done == threads_.size()) break;
    if (done + waiting < threads_.size()) throw Fault{"a warp collective that not all its lanes reach"};
    release_block();
  }
  if (shared_used_ > kSharedLimit) throw Fault{"shared memory above 48 KiB"};
  tear_down();
}

int Device::next_unstarted() { return unstarted_ < order_.size() ? order_[unstarted_++] : -1; }

// Under ThreadSanitizer every thread of a block has a fiber of its own, since one stack would order the two. Blocks take
// turns with a few sets of fibers, which nothing orders: making new ones for every block takes a hundred times longer.
void Device::start_all() {
#if defined(EMULATION_TSAN)
  std::vector<Fiber*>& turn = sets_[++blocks_run_ % kSets];
  idle_ = turn;
#endif
  for (int thread; (thread = next_unstarted()) >= 0;) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(&Device::fiber_body));
      idle_.push_back(fibers_.back().get());
#if defined(EMULATION_TSAN)
      turn.push_back(fibers_.back().get());
#endif
    }
    threads_[thread].fiber = idle_.back();
    idle_.pop_back();
    resume(thread);
  }
}

void Device::resume(int thread) {
  running_ = thread;
  place.thread = threads_[thread].index;
  threads_[thread].state = State::kReady;
  threads_[thread].fiber->resume();
}

// Runs a thread to its end, and the next that has not begun: kernels without barriers never switch stacks.
void Device::fiber_body() {
  for (;;) {
    acquire(&device.start_of_launch_);
    (*device.kernel_)();
    Thread& ended = device.current();
    ended.state = State::kDone;
    release(&device.end_of_launch_);
#if !defined(EMULATION_TSAN)
    int next = device.next_unstarted();
    if (next >= 0) {
      device.threads_[next].fiber = ended.fiber;
      device.running_ = next;
      place.thread = device.threads_[next].index;
      continue;
    }
    device.idle_.push_back(ended.fiber);
#endif
    ended.fiber->suspend();
  }
}

void Device::wait_at_block(int line) {
  Thread& thread = current();
  thread.state = State::kAtBlock, thread.line = line;
  char* key = block_fence_;
  release(key);
  thread.fiber->suspend();
  acquire(key);
}

Thread& Device::wait_at_warp(unsigned mask, int line, bool fence) {
  Thread& thread = current();
  thread.state = State::kAtWarp, thread.line = line, thread.mask = mask;
  char* key = warp_fences_[running_ / kWarp];
  if (fence) release(key);
  thread.fiber->suspend();
  if (fence) acquire(key);
  return thread;
}

bool Device::release_warps() {
  int warps = (int)warp_fences_.size(), turn = order == 2 ? (int)(random_() % warps) : 0;
  for (int i = 0; i < warps; ++i) {
    int first = (order == 1 ? warps - 1 - i : (i + turn) % warps) * kWarp;
    int end = std::min(first + kWarp, (int)threads_.size());
    for (int leader = first; leader < end; ++leader)
      if (threads_[leader].state == State::kAtWarp && warp_complete(first, leader)) {
        release_warp(first, leader);
        return true;
      }
  }
  return false;
}

bool Device::warp_complete(int first, int leader) const {
  for (int lane = 0; lane < kWarp && first + lane < (int)threads_.size(); ++lane) {
    const Thread& thread = threads_[first + lane];
    bool wanted = threads_[leader].mask >> lane & 1;
    if (wanted && (thread.state != State::kAtWarp || thread.line != threads_[leader].line)) return false;
  }
  return true;
}

void Device::release_warp(int first, int leader) {
  std::vector<int> lanes;
  unsigned ballot = 0, mask = threads_[leader].mask;
  for (int lane = 0; lane < kWarp && first + lane < (int)threads_.size(); ++lane)
    if (mask >> lane & 1) {
      lanes.push_back(first + lane);
      ballot |= (unsigned)threads_[first + lane].vote << lane;
    }
  std::vector<uint64_t> brought(kWarp, 0);
  for (int thread : lanes) brought[thread - first] = threads_[thread].value;
  for (int thread : lanes) {
    Thread& one = threads_[thread];
    bool there = one.source >= 0 && one.source < kWarp && (mask >> one.source & 1);
    if (there && first + one.source < (int)threads_.size()) one.value = brought[one.source];
    one.ballot = ballot;
  }
  warp_fences_[first / kWarp] = fence();
  if (order == 1) std::reverse(lanes.begin(), lanes.end());
  if (order == 2) std::shuffle(lanes.begin(), lanes.end(), random_);
  for (int thread : lanes) resume(thread);
}

void Device::release_block() {
  int line = 0;
  std::vector<int> waiting;
  for (int thread : order_)
    if (threads_[thread].state == State::kAtBlock) {
      if (line && threads_[thread].line != line)
        throw Fault{"threads of one block at __syncthreads of lines " + std::to_string(line) + " and " +
                    std::to_string(threads_[thread].line)};
      line = threads_[thread].line;
      waiting.push_back(thread);
    }
  if (waiting.size() < threads_.size())
    throw Fault{"__syncthreads of line " + std::to_string(line) + " that not all threads of the block reach"};
  block_fence_ = fence();
  if (order == 2) std::shuffle(waiting.begin(), waiting.end(), random_);
  for (int thread : waiting) resume(thread);
}

void* Device::shared(const void* key, size_t bytes) {
  for (const SharedArray& array : arrays_)
    if (array.key == key) return array.memory;
  arrays_.push_back({key, poisoned(bytes)});
  shared_used_ += bytes;
  return arrays_.back().memory;
}

}  // namespace

void block_barrier(int line) { device.wait_at_block(line); }

void warp_barrier(unsigned mask, int line) { device.wait_at_warp(mask, line, true); }

uint64_t warp_exchange(unsigned mask, uint64_t value, int source, int line) {
  device.current().value = value, device.current().source = source;
  return device.wait_at_warp(mask, line, false).value;
}

unsigned warp_ballot(unsigned mask, bool vote, int line) {
  device.current().vote = vote;
  return device.wait_at_warp(mask, line, false).ballot;
}

void* shared_memory(const void* key, size_t bytes) { return device.shared(key, bytes); }
void* dynamic_shared_memory() { return device.dynamic(); }

int launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  return device.error ? device.error : device.launch(grid, block, shared_bytes, kernel);
}

int launched() {
  int error = device.error;
  device.error = 0;
  return error;
}

const char* message() { return device.message.c_str(); }

}  // namespace emulation

extern "C" void emulated_set_order(int32_t order, int64_t seed) {
  emulation::device.order = order;
  emulation::device.seed = seed;
}
