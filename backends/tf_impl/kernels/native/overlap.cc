// box_iou.h and match.h as operations.
#include "box_iou.h"
#include "common.h"
#include "match.h"

namespace binding {
namespace {

class BoxIou : public OpKernel {
 public:
  explicit BoxIou(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("one", &one_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &left = context->input(0), &right = context->input(1);
    OP_REQUIRES_OK(context, shaped(context, "left", left, {kAny, 4}));
    OP_REQUIRES_OK(context, shaped(context, "right", right, {kAny, 4}));
    int64_t m = left.dim_size(0), n = right.dim_size(0);
    Tensor* iou = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {m, n}, &iou));
    finish(context, KERNEL(box_iou)(values<float>(left), m, values<float>(right), n, one_, values<float>(iou),
                                    stream_of(context)));
  }

 private:
  float one_;
};

class Match : public OpKernel {
 public:
  explicit Match(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("one", &one_));
    OP_REQUIRES_OK(construction, construction->GetAttr("foreground", &foreground_));
    OP_REQUIRES_OK(construction, construction->GetAttr("background", &background_));
    OP_REQUIRES_OK(construction, construction->GetAttr("strict", &strict_));
    std::string keep;
    OP_REQUIRES_OK(construction, construction->GetAttr("keep", &keep));
    keep_ = keep == "ties" ? MATCH_KEEP_TIES : keep == "first" ? MATCH_KEEP_FIRST : MATCH_KEEP_NONE;
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &objects = context->input(0), &present = context->input(1), &candidates = context->input(2);
    OP_REQUIRES_OK(context, shaped(context, "objects", objects, {kAny, kAny, 4}));
    int64_t batch = objects.dim_size(0), m = objects.dim_size(1);
    OP_REQUIRES_OK(context, shaped(context, "present", present, {batch, m}));
    bool shared = candidates.dims() == 2;
    OP_REQUIRES_OK(context, shared ? shaped(context, "candidates", candidates, {kAny, 4})
                                   : shaped(context, "candidates", candidates, {batch, kAny, 4}));
    int64_t n = candidates.dim_size(shared ? 0 : 1);
    Tensor *object = nullptr, *state = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {batch, n}, &object));
    OP_REQUIRES_OK(context, allocate(context, 1, {batch, n}, &state));
    OP_REQUIRES_OK(context, allocate_workspace(context, KERNEL(match_workspace)(batch, m, n), &workspace));
    finish(context, KERNEL(match)(values<float>(objects), values<uint8_t>(present), batch, m, values<float>(candidates),
                                  n, shared ? 0 : 4 * n, one_, foreground_, background_, strict_, keep_,
                                  values<int32_t>(object), values<int8_t>(state), values<void>(&workspace),
                                  stream_of(context)));
  }

 private:
  float one_, foreground_, background_;
  bool strict_;
  int32_t keep_;
};

REGISTER_KERNEL_BUILDER(Name("HarnessBoxIou").Device(KERNEL_DEVICE), BoxIou);
REGISTER_KERNEL_BUILDER(Name("HarnessMatch").Device(KERNEL_DEVICE), Match);

}  // namespace
}  // namespace binding
