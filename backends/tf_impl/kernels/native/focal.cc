// focal_loss.h as an operation and its gradient.
#include "common.h"
#include "focal_loss.h"

namespace binding {
namespace {

class FocalOperation : public OpKernel {
 protected:
  explicit FocalOperation(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, get_number(construction, "alpha", &alpha_));
    OP_REQUIRES_OK(construction, get_number(construction, "gamma", &gamma_));
    OP_REQUIRES_OK(construction, get_number(construction, "smoothing", &smoothing_));
  }

  static absl::Status check(OpKernelContext* context) {
    absl::Status status = shaped(context, "logits", context->input(0), {kAny, kAny});
    if (!status.ok()) return status;
    return shaped(context, "classes", context->input(1), {context->input(0).dim_size(0)});
  }

  static int32_t type_of(const Tensor& tensor) {
    return tensor.dtype() == tensorflow::DT_DOUBLE ? KERNEL_FLOAT64 : KERNEL_FLOAT32;
  }

  double alpha_, gamma_, smoothing_;
};

class FocalLoss : public FocalOperation {
 public:
  explicit FocalLoss(OpKernelConstruction* construction) : FocalOperation(construction) {}

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, check(context));
    const Tensor &logits = context->input(0), &classes = context->input(1);
    int64_t n = logits.dim_size(0), k = logits.dim_size(1);
    Tensor *total = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {}, &total));
    OP_REQUIRES_OK(context, allocate_workspace(context, KERNEL(focal_loss_workspace)(n, k), &workspace));
    finish(context, KERNEL(focal_loss)(logits.data(), values<int32_t>(classes), n, k, type_of(logits), alpha_, gamma_,
                                       smoothing_, total->data(), values<void>(&workspace), stream_of(context)));
  }
};

class FocalLossGrad : public FocalOperation {
 public:
  explicit FocalLossGrad(OpKernelConstruction* construction) : FocalOperation(construction) {}

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, check(context));
    const Tensor &logits = context->input(0), &classes = context->input(1), &upstream = context->input(2);
    OP_REQUIRES_OK(context, shaped(context, "upstream", upstream, {}));
    int64_t n = logits.dim_size(0), k = logits.dim_size(1);
    Tensor* gradients = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {n, k}, &gradients));
    finish(context, KERNEL(focal_loss_backward)(logits.data(), values<int32_t>(classes), n, k, type_of(logits), alpha_,
                                                gamma_, smoothing_, upstream.data(), gradients->data(),
                                                stream_of(context)));
  }
};

REGISTER_KERNEL_BUILDER(Name("HarnessFocalLoss").Device(KERNEL_DEVICE), FocalLoss);
REGISTER_KERNEL_BUILDER(Name("HarnessFocalLossGrad").Device(KERNEL_DEVICE), FocalLossGrad);

}  // namespace
}  // namespace binding
