// nms.h and soft_nms.h as operations.
#include "common.h"
#include "nms.h"
#include "soft_nms.h"

namespace binding {
namespace {

class Nms : public OpKernel {
 public:
  explicit Nms(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("one", &one_));
    OP_REQUIRES_OK(construction, construction->GetAttr("iou", &iou_));
    OP_REQUIRES_OK(construction, construction->GetAttr("max_keep", &max_keep_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& boxes = context->input(0);
    OP_REQUIRES_OK(context, shaped(context, "boxes", boxes, {kAny, kAny, 4}));
    int64_t batch = boxes.dim_size(0), k = boxes.dim_size(1);
    OpInputList groups, valid;  // of no or one tensor
    OP_REQUIRES_OK(context, context->input_list("groups", &groups));
    OP_REQUIRES_OK(context, context->input_list("valid", &valid));
    if (groups.size()) OP_REQUIRES_OK(context, shaped(context, "groups", groups[0], {batch, k}));
    if (valid.size()) OP_REQUIRES_OK(context, shaped(context, "valid", valid[0], {batch, k}));
    Tensor *kept = nullptr, *count = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {batch, max_keep_}, &kept));
    OP_REQUIRES_OK(context, allocate(context, 1, {batch}, &count));
    OP_REQUIRES_OK(context, allocate_workspace(context, KERNEL(nms_workspace)(batch, k, max_keep_), &workspace));
    finish(context, KERNEL(nms)(values<float>(boxes), groups.size() ? values<int32_t>(groups[0]) : nullptr,
                                valid.size() ? values<uint8_t>(valid[0]) : nullptr, batch, k, one_, iou_, max_keep_,
                                values<int32_t>(kept), values<int32_t>(count), values<void>(&workspace),
                                stream_of(context)));
  }

 private:
  float one_, iou_;
  int64_t max_keep_;
};

class SoftNms : public OpKernel {
 public:
  explicit SoftNms(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("sigma", &sigma_));
    OP_REQUIRES_OK(construction, construction->GetAttr("score_threshold", &threshold_));
    OP_REQUIRES_OK(construction, construction->GetAttr("max_keep", &max_keep_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &boxes = context->input(0), &scores = context->input(1), &classes = context->input(2);
    OP_REQUIRES_OK(context, shaped(context, "boxes", boxes, {kAny, kAny, 4}));
    int64_t batch = boxes.dim_size(0), c = boxes.dim_size(1);
    OP_REQUIRES_OK(context, shaped(context, "scores", scores, {batch, c}));
    OP_REQUIRES_OK(context, shaped(context, "classes", classes, {batch, c}));
    Tensor *kept = nullptr, *kept_scores = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {batch, max_keep_}, &kept));
    OP_REQUIRES_OK(context, allocate(context, 1, {batch, max_keep_}, &kept_scores));
    OP_REQUIRES_OK(context, allocate_workspace(context, KERNEL(soft_nms_workspace)(batch, c), &workspace));
    finish(context, KERNEL(soft_nms)(values<float>(boxes), values<float>(scores), values<int32_t>(classes), batch, c,
                                     sigma_, threshold_, max_keep_, values<int32_t>(kept), values<float>(kept_scores),
                                     values<void>(&workspace), stream_of(context)));
  }

 private:
  float sigma_, threshold_;
  int64_t max_keep_;
};

REGISTER_KERNEL_BUILDER(Name("HarnessNms").Device(KERNEL_DEVICE), Nms);
REGISTER_KERNEL_BUILDER(Name("HarnessSoftNms").Device(KERNEL_DEVICE), SoftNms);

}  // namespace
}  // namespace binding
