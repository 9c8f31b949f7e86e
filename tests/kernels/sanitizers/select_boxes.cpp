#include "select_boxes.h"

#include "driver.h"

namespace {

template <class Index>
void run_with() {
  Random random(3);
  const int64_t batch = 2, levels = 2, counts[] = {300, 150, 90, 90};
  std::vector<std::vector<Index>> indices;
  std::vector<std::vector<float>> logits, deltas, anchors;
  std::vector<const void*> index_pointers;
  std::vector<const float*> logit_pointers, delta_pointers, anchor_pointers;
  for (int64_t level = 0; level < levels; ++level) {
    int64_t n = counts[2 * level], k = counts[2 * level + 1];
    auto chosen = integers(random, batch * k, (int32_t)n);
    indices.emplace_back(chosen.begin(), chosen.end());
    logits.push_back(uniforms(random, batch * k, -4, 4));
    deltas.push_back(uniforms(random, batch * n * 4, -2, 2));
    anchors.push_back(boxes(random, n));
    index_pointers.push_back(indices.back().data()), logit_pointers.push_back(logits.back().data());
    delta_pointers.push_back(deltas.back().data()), anchor_pointers.push_back(anchors.back().data());
  }
  const int64_t k = counts[1] + counts[3];
  auto sizes = uniforms(random, 2 * batch, 60, 90);
  std::vector<float> found(batch * k * 4), scores(batch * k);
  std::vector<uint8_t> valid(batch * k);
  check(KERNEL(select_boxes)(index_pointers.data(), logit_pointers.data(), delta_pointers.data(),
                             anchor_pointers.data(), counts, levels, batch, sizeof(Index), sizes.data(), 0, 1, 1, 4.1f, 1,
                             0, found.data(), scores.data(), valid.data(), nullptr));
}

void run() {
  run_with<int32_t>();
  run_with<int64_t>();
}

Operation operation("select_boxes", run);

}  // namespace
