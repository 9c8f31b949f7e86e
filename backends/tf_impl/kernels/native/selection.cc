// select_boxes.h and anchors.h as operations.
#include "anchors.h"
#include "common.h"
#include "select_boxes.h"

namespace binding {
namespace {

class SelectBoxes : public OpKernel {
 public:
  explicit SelectBoxes(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("one", &one_));
    OP_REQUIRES_OK(construction, construction->GetAttr("weight_xy", &weight_xy_));
    OP_REQUIRES_OK(construction, construction->GetAttr("weight_wh", &weight_wh_));
    OP_REQUIRES_OK(construction, construction->GetAttr("log_limit", &log_limit_));
    OP_REQUIRES_OK(construction, construction->GetAttr("min_size", &min_size_));
    OP_REQUIRES_OK(construction, construction->GetAttr("ordered", &ordered_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& sizes = context->input(context->num_inputs() - 1);
    OP_REQUIRES_OK(context, shaped(context, "sizes", sizes, {kAny, 2}));
    Levels levels;
    OP_REQUIRES_OK(context, read(context, sizes.dim_size(0), &levels));
    int64_t batch = sizes.dim_size(0), k = levels.chosen;
    Tensor *boxes = nullptr, *scores = nullptr, *valid = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {batch, k, 4}, &boxes));
    OP_REQUIRES_OK(context, allocate(context, 1, {batch, k}, &scores));
    OP_REQUIRES_OK(context, allocate(context, 2, {batch, k}, &valid));
    finish(context, KERNEL(select_boxes)(levels.indices.data(), levels.logits.data(), levels.deltas.data(),
                                         levels.anchors.data(), levels.counts.data(), (int64_t)levels.indices.size(),
                                         batch, levels.index_bytes, values<float>(sizes), one_, weight_xy_, weight_wh_,
                                         log_limit_, min_size_, ordered_, values<float>(boxes), values<float>(scores),
                                         values<uint8_t>(valid), stream_of(context)));
  }

 private:
  struct Levels {
    std::vector<const void*> indices;
    std::vector<const float*> logits, deltas, anchors;
    std::vector<int64_t> counts;
    int64_t chosen = 0;
    int32_t index_bytes = 4;

    void add(const Tensor& index, const Tensor& logit, const Tensor& delta, const Tensor& anchor) {
      indices.push_back(index.data());
      logits.push_back(values<float>(logit));
      deltas.push_back(values<float>(delta));
      anchors.push_back(values<float>(anchor));
      counts.insert(counts.end(), {anchor.dim_size(0), index.dim_size(1)});
      chosen += index.dim_size(1);
      index_bytes = index.dtype() == tensorflow::DT_INT64 ? 8 : 4;
    }
  };

  static absl::Status read(OpKernelContext* context, int64_t batch, Levels* levels) {
    OpInputList indices, logits, deltas, anchors;
    absl::Status status = context->input_list("indices", &indices);
    status.Update(context->input_list("logits", &logits));
    status.Update(context->input_list("deltas", &deltas));
    status.Update(context->input_list("anchors", &anchors));
    for (int i = 0; status.ok() && i < indices.size(); ++i) {
      status.Update(shaped(context, "indices of a level", indices[i], {batch, kAny}));
      if (!status.ok()) break;
      int64_t chosen = indices[i].dim_size(1);
      status.Update(shaped(context, "logits of a level", logits[i], {batch, chosen}));
      status.Update(shaped(context, "anchors of a level", anchors[i], {kAny, 4}));
      if (!status.ok()) break;
      status.Update(shaped(context, "deltas of a level", deltas[i], {batch, anchors[i].dim_size(0), 4}));
      levels->add(indices[i], logits[i], deltas[i], anchors[i]);
    }
    return status;
  }

  float one_, weight_xy_, weight_wh_, log_limit_, min_size_;
  bool ordered_;
};

class Anchors : public OpKernel {
 public:
  explicit Anchors(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, get_numbers(construction, "cells", &cells_));
    OP_REQUIRES_OK(construction, get_numbers(construction, "steps", &steps_));
    OP_REQUIRES_OK(construction, construction->GetAttr("grids", &grids_));
    int64_t levels = (int64_t)grids_.size() / 2;
    bool fits = levels > 0 && grids_.size() % 2 == 0 && steps_.size() == grids_.size() &&
                cells_.size() % (4 * levels) == 0;
    OP_REQUIRES(construction, fits,
                absl::InvalidArgumentError("HarnessAnchors: grids and steps are two numbers a level, "
                                           "cells four an anchor"));
    for (int64_t i = 0; i < levels; ++i) positions_ += grids_[2 * i] * grids_[2 * i + 1];
  }

  void Compute(OpKernelContext* context) override {
    int64_t levels = (int64_t)grids_.size() / 2, c = (int64_t)cells_.size() / (4 * levels);
    Tensor* anchors = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {positions_ * c, 4}, &anchors));
    finish(context, KERNEL(anchors)(cells_.data(), levels, c, grids_.data(), steps_.data(), values<float>(anchors),
                                    stream_of(context)));
  }

 private:
  std::vector<double> cells_, steps_;
  std::vector<int64_t> grids_;
  int64_t positions_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("HarnessSelectBoxes").Device(KERNEL_DEVICE), SelectBoxes);
REGISTER_KERNEL_BUILDER(Name("HarnessAnchors").Device(KERNEL_DEVICE), Anchors);

}  // namespace
}  // namespace binding
