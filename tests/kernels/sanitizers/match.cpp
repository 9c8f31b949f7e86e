#include "match.h"

#include "driver.h"

namespace {

void run() {
  Random random(2);
  int64_t batch = 2, m = 70, n = 700;
  auto objects = boxes(random, batch * m), candidates = boxes(random, batch * n);
  std::vector<uint8_t> present(batch * m, 1);
  present[m - 1] = 0;
  for (int32_t keep : {MATCH_KEEP_NONE, MATCH_KEEP_TIES, MATCH_KEEP_FIRST}) {
    std::vector<char> workspace(KERNEL(match_workspace)(batch, m, n));
    std::vector<int32_t> object(batch * n);
    std::vector<int8_t> state(batch * n);
    int64_t stride = keep == MATCH_KEEP_NONE ? 0 : 4 * n;
    check(KERNEL(match)(objects.data(), present.data(), batch, m, candidates.data(), n, stride, 0, 0.7f, 0.3f, 0, keep,
                        object.data(), state.data(), workspace.data(), nullptr));
  }
}

Operation operation("match", run);

}  // namespace
