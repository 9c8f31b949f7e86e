// paste_masks.h, polygon_targets.h and rle_targets.h as operations.
#include "common.h"
#include "paste_masks.h"
#include "polygon_targets.h"
#include "rle_targets.h"

namespace binding {
namespace {

class PasteMasks : public OpKernel {
 public:
  explicit PasteMasks(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("threshold", &threshold_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &masks = context->input(0), &boxes = context->input(1), &size = context->input(2);
    OP_REQUIRES_OK(context, shaped(context, "masks", masks, {kAny, kAny, kAny}));
    int64_t n = masks.dim_size(0), side = masks.dim_size(1);
    OP_REQUIRES_OK(context, shaped(context, "masks", masks, {n, side, side}));
    OP_REQUIRES_OK(context, shaped(context, "boxes", boxes, {n, 4}));
    OP_REQUIRES_OK(context, shaped(context, "size", size, {2}));
    int64_t height = values<int32_t>(size)[0], width = values<int32_t>(size)[1];
    Tensor* pasted = nullptr;
    OP_REQUIRES_OK(context, allocate(context, 0, {n, height, width}, &pasted));
    finish(context, KERNEL(paste_masks)(values<float>(masks), n, side, values<float>(boxes), height, width, threshold_,
                                        values<uint8_t>(pasted), stream_of(context)));
  }

 private:
  float threshold_;
};

// What outlines are stretched to.
struct Target {
  int64_t height, width;
  double min_side;

  absl::Status read(OpKernelConstruction* construction) {
    absl::Status status = construction->GetAttr("height", &height);
    status.Update(construction->GetAttr("width", &width));
    status.Update(get_number(construction, "min_side", &min_side));
    return status;
  }
};

// Refuses lists that lead out of their arrays. On the CPU alone: a device's values are not seen without a wait.
absl::Status inside(OpKernelContext* context, const char* name, const Tensor& starts, int64_t end) {
  const int64_t* at = values<int64_t>(starts);
  for (int64_t i = 0; kOnHost && i < starts.dim_size(0); ++i)
    if (at[i] < (i ? at[i - 1] : 0) || at[i] > end)
      return refused(context, name + (" holds " + std::to_string(at[i])) + " at " + std::to_string(i) +
                                  "; numbers that rise from 0 to at most " + std::to_string(end) + " are needed");
  return absl::OkStatus();
}

absl::Status known(OpKernelContext* context, const Tensor& object, int64_t objects) {
  const int32_t* at = values<int32_t>(object);
  for (int64_t i = 0; kOnHost && i < object.dim_size(0); ++i)
    if (at[i] >= objects)
      return refused(context, "object holds " + std::to_string(at[i]) + "; there are " + std::to_string(objects));
  return absl::OkStatus();
}

// Starts of O + 1 places, at least one.
absl::Status starts_shaped(OpKernelContext* context, const char* name, const Tensor& starts) {
  if (starts.dims() == 1 && starts.dim_size(0) > 0) return absl::OkStatus();
  return refused(context, name + (" is " + starts.shape().DebugString()) + "; [1 or more] is needed");
}

class PolygonTargets : public OpKernel {
 public:
  explicit PolygonTargets(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, target_.read(construction));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &points = context->input(0), &polygons = context->input(1), &objects = context->input(2);
    const Tensor &object = context->input(3), &boxes = context->input(4);
    OP_REQUIRES_OK(context, shaped(context, "points", points, {kAny, 2}));
    OP_REQUIRES_OK(context, starts_shaped(context, "polygon_starts", polygons));
    OP_REQUIRES_OK(context, starts_shaped(context, "object_starts", objects));
    OP_REQUIRES_OK(context, shaped(context, "boxes", boxes, {kAny, 4}));
    int64_t rois = boxes.dim_size(0);
    OP_REQUIRES_OK(context, shaped(context, "object", object, {rois}));
    OP_REQUIRES_OK(context, inside(context, "polygon_starts", polygons, points.dim_size(0)));
    OP_REQUIRES_OK(context, inside(context, "object_starts", objects, polygons.dim_size(0) - 1));
    OP_REQUIRES_OK(context, known(context, object, objects.dim_size(0) - 1));
    Tensor *targets = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {rois, target_.height, target_.width}, &targets));
    int64_t bytes = KERNEL(polygon_targets_workspace)(rois, target_.height, target_.width);
    OP_REQUIRES_OK(context, allocate_workspace(context, bytes, &workspace));
    finish(context, KERNEL(polygon_targets)(values<double>(points), values<int64_t>(polygons), values<int64_t>(objects),
                                            values<int32_t>(object), values<double>(boxes), rois, target_.height,
                                            target_.width, target_.min_side, values<uint8_t>(targets),
                                            values<void>(&workspace), stream_of(context)));
  }

 private:
  Target target_;
};

class RleTargets : public OpKernel {
 public:
  explicit RleTargets(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, target_.read(construction));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &counts = context->input(0), &starts = context->input(1), &sizes = context->input(2);
    const Tensor &object = context->input(3), &boxes = context->input(4);
    OP_REQUIRES_OK(context, shaped(context, "counts", counts, {kAny}));
    OP_REQUIRES_OK(context, shaped(context, "sizes", sizes, {kAny, 2}));
    int64_t objects = sizes.dim_size(0);
    OP_REQUIRES_OK(context, shaped(context, "object_starts", starts, {objects + 1}));
    OP_REQUIRES_OK(context, shaped(context, "boxes", boxes, {kAny, 4}));
    int64_t rois = boxes.dim_size(0);
    OP_REQUIRES_OK(context, shaped(context, "object", object, {rois}));
    OP_REQUIRES_OK(context, inside(context, "object_starts", starts, counts.dim_size(0)));
    OP_REQUIRES_OK(context, known(context, object, objects));
    Tensor *targets = nullptr, workspace;
    OP_REQUIRES_OK(context, allocate(context, 0, {rois, target_.height, target_.width}, &targets));
    OP_REQUIRES_OK(context, allocate_workspace(context, counts.dim_size(0) * (int64_t)sizeof(uint32_t), &workspace));
    finish(context, KERNEL(rle_targets)(values<uint32_t>(counts), values<int64_t>(starts), values<int64_t>(sizes),
                                        objects, values<int32_t>(object), values<double>(boxes), rois, target_.height,
                                        target_.width, target_.min_side, values<uint8_t>(targets),
                                        values<uint32_t>(&workspace), stream_of(context)));
  }

 private:
  Target target_;
};

REGISTER_KERNEL_BUILDER(Name("HarnessPasteMasks").Device(KERNEL_DEVICE).HostMemory("size"), PasteMasks);
REGISTER_KERNEL_BUILDER(Name("HarnessPolygonTargets").Device(KERNEL_DEVICE), PolygonTargets);
REGISTER_KERNEL_BUILDER(Name("HarnessRleTargets").Device(KERNEL_DEVICE), RleTargets);

}  // namespace
}  // namespace binding
