// roi_align.h as an operation and its gradient; channels are the last axis, as everywhere in TensorFlow.
#include "common.h"
#include "roi_align.h"

namespace binding {
namespace {

// A call's arguments but for the features; those of both directions.
class RoiOperation : public OpKernel {
 protected:
  explicit RoiOperation(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, get_numbers(construction, "scales", &scales_));
    OP_REQUIRES_OK(construction, construction->GetAttr("bins", &bins_));
    OP_REQUIRES_OK(construction, construction->GetAttr("ratio", &ratio_));
    OP_REQUIRES_OK(construction, construction->GetAttr("aligned", &aligned_));
    OP_REQUIRES_OK(construction, get_number(construction, "min_side", &min_side_));
    int levels = 0;
    OP_REQUIRES_OK(construction, construction->GetAttr("levels", &levels));
    OP_REQUIRES(construction, (int)scales_.size() == levels,
                absl::InvalidArgumentError("HarnessRoiAlign: " + std::to_string(scales_.size()) + " scales for " +
                                           std::to_string(levels) + " levels"));
  }

  struct Pyramid {
    int64_t images = 0, channels = 0;
    std::vector<int64_t> shapes, strides;

    // sizes: of a level, images, rows, columns, channels.
    absl::Status add(OpKernelContext* context, const int64_t* sizes) {
      if (shapes.empty()) images = sizes[0], channels = sizes[3];
      if (images != sizes[0] || channels != sizes[3]) return refused(context, "levels differ in images or channels");
      shapes.insert(shapes.end(), {sizes[1], sizes[2]});
      strides.insert(strides.end(), {sizes[1] * sizes[2] * channels, 1, sizes[2] * channels, channels});
      return absl::OkStatus();
    }
  };

  struct Regions {
    const Tensor *boxes, *images, *levels;
    int64_t count;
  };

  static absl::Status read(OpKernelContext* context, Regions* regions) {
    absl::Status status = context->input("rois", &regions->boxes);
    status.Update(context->input("images", &regions->images));
    status.Update(context->input("of_levels", &regions->levels));
    if (!status.ok()) return status;
    status = shaped(context, "rois", *regions->boxes, {kAny, 4});
    if (!status.ok()) return status;
    regions->count = regions->boxes->dim_size(0);
    status.Update(shaped(context, "images", *regions->images, {regions->count}));
    status.Update(shaped(context, "of_levels", *regions->levels, {regions->count}));
    return status;
  }

  static int32_t type_of(const Tensor& tensor) {
    return tensor.dtype() == tensorflow::DT_DOUBLE ? KERNEL_FLOAT64 : KERNEL_FLOAT32;
  }

  std::vector<double> scales_;
  int64_t bins_, ratio_;
  bool aligned_;
  double min_side_;
};

class RoiAlign : public RoiOperation {
 public:
  explicit RoiAlign(OpKernelConstruction* construction) : RoiOperation(construction) {}

  void Compute(OpKernelContext* context) override {
    OpInputList features;
    OP_REQUIRES_OK(context, context->input_list("features", &features));
    Pyramid pyramid;
    std::vector<const void*> pointers;
    for (const Tensor& level : features) {
      OP_REQUIRES_OK(context, shaped(context, "a level of features", level, {kAny, kAny, kAny, kAny}));
      const int64_t sizes[] = {level.dim_size(0), level.dim_size(1), level.dim_size(2), level.dim_size(3)};
      OP_REQUIRES_OK(context, pyramid.add(context, sizes));
      pointers.push_back(level.data());
    }
    Regions regions;
    OP_REQUIRES_OK(context, read(context, &regions));
    Tensor* pooled = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {regions.count, bins_, bins_, pyramid.channels}, &pooled));
    finish(context, KERNEL(roi_align)(pointers.data(), pyramid.shapes.data(), pyramid.strides.data(), scales_.data(),
                                      (int64_t)pointers.size(), pyramid.images, pyramid.channels, type_of(*pooled),
                                      regions.boxes->data(), values<int32_t>(*regions.images),
                                      values<int32_t>(*regions.levels), regions.count, bins_, ratio_, aligned_,
                                      min_side_, 1, pooled->data(), stream_of(context)));
  }
};

class RoiAlignGrad : public RoiOperation {
 public:
  explicit RoiAlignGrad(OpKernelConstruction* construction) : RoiOperation(construction) {}

  void Compute(OpKernelContext* context) override {
    OpInputList shapes;
    OP_REQUIRES_OK(context, context->input_list("shapes", &shapes));
    Pyramid pyramid;
    std::vector<void*> pointers;
    for (int i = 0; i < shapes.size(); ++i) {
      OP_REQUIRES_OK(context, shaped(context, "shapes of a level", shapes[i], {4}));
      const int32_t* at = values<int32_t>(shapes[i]);
      const int64_t sizes[] = {at[0], at[1], at[2], at[3]};
      OP_REQUIRES_OK(context, pyramid.add(context, sizes));
      Tensor* gradients = nullptr;
      OP_REQUIRES_OK(context, allocate(context, i, {sizes[0], sizes[1], sizes[2], sizes[3]}, &gradients));
      OP_REQUIRES_OK(context, fill_with_zeros(context, gradients));
      pointers.push_back(gradients->data());
    }
    Regions regions;
    OP_REQUIRES_OK(context, read(context, &regions));
    const Tensor* upstream = nullptr;
    OP_REQUIRES_OK(context, context->input("upstream", &upstream));
    OP_REQUIRES_OK(context,
                   shaped(context, "upstream", *upstream, {regions.count, bins_, bins_, pyramid.channels}));
    finish(context, KERNEL(roi_align_backward)(
                        pointers.data(), pyramid.shapes.data(), pyramid.strides.data(), scales_.data(),
                        (int64_t)pointers.size(), pyramid.images, pyramid.channels, type_of(*upstream),
                        regions.boxes->data(), values<int32_t>(*regions.images), values<int32_t>(*regions.levels),
                        regions.count, bins_, ratio_, aligned_, min_side_, 1, upstream->data(), stream_of(context)));
  }
};

REGISTER_KERNEL_BUILDER(Name("HarnessRoiAlign").Device(KERNEL_DEVICE), RoiAlign);
REGISTER_KERNEL_BUILDER(Name("HarnessRoiAlignGrad").Device(KERNEL_DEVICE).HostMemory("shapes"), RoiAlignGrad);

}  // namespace
}  // namespace binding
