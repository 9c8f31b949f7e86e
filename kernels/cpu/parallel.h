// A few threads that wait for work, for all CPU bodies.
//
// Not OpenMP: the frameworks bring runtimes of their own, a second pool in the process would spin against theirs, and
// ThreadSanitizer cannot see into it.
#pragma once
#include <stdint.h>

#include <functional>

namespace kernels {

// Runs body(begin, end) over 0..count-1 in pieces of at least `grain`, on the calling thread and the pool's. Returns when
// all is done. Calls from several threads at once are served one by one, the later ones on their own thread alone. The
// body must not throw: it allocates nothing.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

// Threads that parallel_for uses, the caller's among them.
int64_t thread_count();

}  // namespace kernels
