#include "nms.h"

#include "driver.h"

namespace {

// More boxes than one tile of any sensible size, sparse ones that stay among crowded ones that go.
void run() {
  Random random(4);
  const int64_t batch = 2;
  for (int64_t k : {1, 65, 700})
    for (int64_t max_keep : {5, 400}) {
      auto candidates = boxes(random, batch * k);
      auto groups = integers(random, batch * k, 3);
      std::vector<uint8_t> valid(batch * k, 1);
      valid[k / 2] = 0;
      std::vector<int32_t> kept(batch * max_keep), count(batch);
      std::vector<char> workspace(KERNEL(nms_workspace)(batch, k, max_keep));
      check(KERNEL(nms)(candidates.data(), groups.data(), valid.data(), batch, k, 0, 0.5f, max_keep, kept.data(),
                        count.data(), workspace.data(), nullptr));
    }
}

Operation operation("nms", run);

}  // namespace
