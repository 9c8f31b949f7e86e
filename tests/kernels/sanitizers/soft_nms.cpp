#include "soft_nms.h"

#include "driver.h"

namespace {

void run() {
  Random random(5);
  const int64_t batch = 2, max_keep = 20;
  for (int64_t c : {1, 600}) {
    auto candidates = boxes(random, batch * c);
    auto scores = uniforms(random, batch * c, 0, 1);
    auto classes = integers(random, batch * c, 4);
    std::vector<int32_t> kept(batch * max_keep);
    std::vector<float> kept_scores(batch * max_keep);
    std::vector<char> workspace(KERNEL(soft_nms_workspace)(batch, c));
    check(KERNEL(soft_nms)(candidates.data(), scores.data(), classes.data(), batch, c, 0.5f, 0.01f, max_keep,
                           kept.data(), kept_scores.data(), workspace.data(), nullptr));
  }
}

Operation operation("soft_nms", run);

}  // namespace
