// The operations' signatures and shapes; once a process, whatever devices have kernels for them.
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace binding {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

#define BINDING_TRY(...)                                               \
  do {                                                                 \
    if (absl::Status tried = (__VA_ARGS__); !tried.ok()) return tried; \
  } while (0)

// Boxes [..., 4] of so many axes.
absl::Status boxes_shape(InferenceContext* c, int input, int rank, ShapeHandle* shape) {
  DimensionHandle four;
  BINDING_TRY(c->WithRank(c->input(input), rank, shape));
  return c->WithValue(c->Dim(*shape, -1), 4, &four);
}

// Boxes [B, K, 4] and inputs [B, K] beside them, as far as one or another of them is known.
absl::Status rows_shape(InferenceContext* c, std::initializer_list<int> beside, ShapeHandle* rows) {
  ShapeHandle boxes;
  BINDING_TRY(boxes_shape(c, 0, 3, &boxes));
  BINDING_TRY(c->Subshape(boxes, 0, 2, rows));
  for (int input : beside)
    if (input < c->num_inputs()) BINDING_TRY(c->Merge(*rows, c->input(input), rows));
  return absl::OkStatus();
}

absl::Status box_iou_shape(InferenceContext* c) {
  ShapeHandle left, right;
  BINDING_TRY(boxes_shape(c, 0, 2, &left));
  BINDING_TRY(boxes_shape(c, 1, 2, &right));
  c->set_output(0, c->Matrix(c->Dim(left, 0), c->Dim(right, 0)));
  return absl::OkStatus();
}

absl::Status match_shape(InferenceContext* c) {
  ShapeHandle objects, candidates = c->input(2);
  BINDING_TRY(rows_shape(c, {1}, &objects));
  DimensionHandle batch = c->Dim(objects, 0), count = c->UnknownDim(), four;
  if (c->RankKnown(candidates)) {
    BINDING_TRY(c->WithRankAtLeast(candidates, 2, &candidates));
    BINDING_TRY(c->WithRankAtMost(candidates, 3, &candidates));
    BINDING_TRY(c->WithValue(c->Dim(candidates, -1), 4, &four));
    count = c->Dim(candidates, -2);
    if (c->Rank(candidates) == 3) BINDING_TRY(c->Merge(batch, c->Dim(candidates, 0), &batch));
  }
  for (int output : {0, 1}) c->set_output(output, c->Matrix(batch, count));
  return absl::OkStatus();
}

absl::Status select_boxes_shape(InferenceContext* c) {
  int levels = 0;
  BINDING_TRY(c->GetAttr("levels", &levels));
  ShapeHandle sizes, indices;
  BINDING_TRY(c->WithRank(c->input(4 * levels), 2, &sizes));
  DimensionHandle batch = c->Dim(sizes, 0), chosen = c->MakeDim(0);
  for (int level = 0; level < levels; ++level) {
    BINDING_TRY(c->Merge(c->input(level), c->input(levels + level), &indices));
    BINDING_TRY(c->WithRank(indices, 2, &indices));
    BINDING_TRY(c->Merge(batch, c->Dim(indices, 0), &batch));
    BINDING_TRY(c->Add(chosen, c->Dim(indices, 1), &chosen));
  }
  c->set_output(0, c->MakeShape({batch, chosen, c->MakeDim(4)}));
  for (int output : {1, 2}) c->set_output(output, c->Matrix(batch, chosen));
  return absl::OkStatus();
}

absl::Status anchors_shape(InferenceContext* c) {
  std::vector<int64_t> grids;
  std::vector<std::string> cells;
  BINDING_TRY(c->GetAttr("grids", &grids));
  BINDING_TRY(c->GetAttr("cells", &cells));
  int64_t positions = 0, levels = (int64_t)grids.size() / 2;
  for (int64_t level = 0; level < levels; ++level) positions += grids[2 * level] * grids[2 * level + 1];
  c->set_output(0, c->Matrix(levels ? positions * ((int64_t)cells.size() / (4 * levels)) : 0, 4));
  return absl::OkStatus();
}

absl::Status nms_shape(InferenceContext* c) {
  ShapeHandle rows;
  BINDING_TRY(rows_shape(c, {1, 2}, &rows));
  int64_t most = 0;
  BINDING_TRY(c->GetAttr("max_keep", &most));
  c->set_output(0, c->Matrix(c->Dim(rows, 0), most));
  c->set_output(1, c->Vector(c->Dim(rows, 0)));
  return absl::OkStatus();
}

absl::Status soft_nms_shape(InferenceContext* c) {
  ShapeHandle rows;
  BINDING_TRY(rows_shape(c, {1, 2}, &rows));
  int64_t most = 0;
  BINDING_TRY(c->GetAttr("max_keep", &most));
  for (int output : {0, 1}) c->set_output(output, c->Matrix(c->Dim(rows, 0), most));
  return absl::OkStatus();
}

absl::Status paste_masks_shape(InferenceContext* c) {
  ShapeHandle masks, boxes, size;
  BINDING_TRY(c->WithRank(c->input(0), 3, &masks));
  BINDING_TRY(boxes_shape(c, 1, 2, &boxes));
  DimensionHandle count;
  BINDING_TRY(c->Merge(c->Dim(masks, 0), c->Dim(boxes, 0), &count));
  BINDING_TRY(c->MakeShapeFromShapeTensor(2, &size));
  BINDING_TRY(c->WithRank(size, 2, &size));
  c->set_output(0, c->MakeShape({count, c->Dim(size, 0), c->Dim(size, 1)}));
  return absl::OkStatus();
}

absl::Status targets_shape(InferenceContext* c) {
  ShapeHandle boxes, object;
  BINDING_TRY(c->WithRank(c->input(3), 1, &object));
  BINDING_TRY(boxes_shape(c, 4, 2, &boxes));
  DimensionHandle rois;
  BINDING_TRY(c->Merge(c->Dim(object, 0), c->Dim(boxes, 0), &rois));
  int64_t height = 0, width = 0;
  BINDING_TRY(c->GetAttr("height", &height));
  BINDING_TRY(c->GetAttr("width", &width));
  c->set_output(0, c->MakeShape({rois, c->MakeDim(height), c->MakeDim(width)}));
  return absl::OkStatus();
}

absl::Status roi_align_shape(InferenceContext* c) {
  int levels = 0;
  int64_t bins = 0;
  BINDING_TRY(c->GetAttr("levels", &levels));
  BINDING_TRY(c->GetAttr("bins", &bins));
  DimensionHandle channels = c->UnknownDim();
  for (int level = 0; level < levels; ++level) {
    ShapeHandle feature;
    BINDING_TRY(c->WithRank(c->input(level), 4, &feature));
    BINDING_TRY(c->Merge(channels, c->Dim(feature, 3), &channels));
  }
  ShapeHandle rois;
  BINDING_TRY(boxes_shape(c, levels, 2, &rois));
  c->set_output(0, c->MakeShape({c->Dim(rois, 0), c->MakeDim(bins), c->MakeDim(bins), channels}));
  return absl::OkStatus();
}

absl::Status roi_align_grad_shape(InferenceContext* c) {
  for (int level = 0; level < c->num_outputs(); ++level) {
    ShapeHandle shape;
    BINDING_TRY(c->MakeShapeFromShapeTensor(level, &shape));
    c->set_output(level, shape);
  }
  return absl::OkStatus();
}

absl::Status focal_shape(InferenceContext* c) {
  ShapeHandle logits, classes;
  BINDING_TRY(c->WithRank(c->input(0), 2, &logits));
  BINDING_TRY(c->WithRank(c->input(1), 1, &classes));
  DimensionHandle rows;
  BINDING_TRY(c->Merge(c->Dim(logits, 0), c->Dim(classes, 0), &rows));
  c->set_output(0, c->num_inputs() == 2 ? c->Scalar() : c->Matrix(rows, c->Dim(logits, 1)));
  return absl::OkStatus();
}

}  // namespace
}  // namespace binding

REGISTER_OP("HarnessBoxIou")
    .Input("left: float").Input("right: float")
    .Attr("one: float").Output("iou: float").SetShapeFn(binding::box_iou_shape);

REGISTER_OP("HarnessMatch")
    .Input("objects: float").Input("present: bool").Input("candidates: float")
    .Attr("one: float").Attr("foreground: float").Attr("background: float").Attr("strict: bool")
    .Attr("keep: {'none', 'ties', 'first'}")
    .Output("object: int32").Output("state: int8").SetShapeFn(binding::match_shape);

REGISTER_OP("HarnessSelectBoxes")
    .Input("indices: levels * I").Input("logits: levels * float").Input("deltas: levels * float")
    .Input("anchors: levels * float").Input("sizes: float")
    .Attr("levels: int >= 1").Attr("I: {int32, int64}").Attr("one: float").Attr("weight_xy: float")
    .Attr("weight_wh: float").Attr("log_limit: float").Attr("min_size: float").Attr("ordered: bool")
    .Output("boxes: float").Output("scores: float").Output("valid: bool").SetShapeFn(binding::select_boxes_shape);

REGISTER_OP("HarnessAnchors")
    .Attr("cells: list(string)").Attr("grids: list(int)").Attr("steps: list(string)")
    .Output("anchors: float").SetShapeFn(binding::anchors_shape);

REGISTER_OP("HarnessNms")
    .Input("boxes: float").Input("groups: grouped * int32").Input("valid: sieved * bool")
    .Attr("grouped: int >= 0").Attr("sieved: int >= 0")
    .Attr("one: float").Attr("iou: float").Attr("max_keep: int >= 0")
    .Output("kept: int32").Output("count: int32").SetShapeFn(binding::nms_shape);

REGISTER_OP("HarnessSoftNms")
    .Input("boxes: float").Input("scores: float").Input("classes: int32")
    .Attr("sigma: float").Attr("score_threshold: float").Attr("max_keep: int >= 0")
    .Output("kept: int32").Output("kept_scores: float").SetShapeFn(binding::soft_nms_shape);

REGISTER_OP("HarnessPasteMasks")
    .Input("masks: float").Input("boxes: float").Input("size: int32")
    .Attr("threshold: float").Output("pasted: bool").SetShapeFn(binding::paste_masks_shape);

REGISTER_OP("HarnessPolygonTargets")
    .Input("points: double").Input("polygon_starts: int64").Input("object_starts: int64")
    .Input("object: int32").Input("boxes: double")
    .Attr("height: int >= 0").Attr("width: int >= 0").Attr("min_side: string")
    .Output("targets: uint8").SetShapeFn(binding::targets_shape);

REGISTER_OP("HarnessRleTargets")
    .Input("counts: uint32").Input("object_starts: int64").Input("sizes: int64")
    .Input("object: int32").Input("boxes: double")
    .Attr("height: int >= 0").Attr("width: int >= 0").Attr("min_side: string")
    .Output("targets: uint8").SetShapeFn(binding::targets_shape);

REGISTER_OP("HarnessRoiAlign")
    .Input("features: levels * T").Input("rois: T").Input("images: int32").Input("of_levels: int32")
    .Attr("levels: int >= 1").Attr("T: {float, double}").Attr("scales: list(string)").Attr("bins: int >= 1")
    .Attr("ratio: int >= 0").Attr("aligned: bool").Attr("min_side: string")
    .Output("pooled: T").SetShapeFn(binding::roi_align_shape);

REGISTER_OP("HarnessRoiAlignGrad")
    .Input("shapes: levels * int32").Input("rois: T").Input("images: int32").Input("of_levels: int32")
    .Input("upstream: T")
    .Attr("levels: int >= 1").Attr("T: {float, double}").Attr("scales: list(string)").Attr("bins: int >= 1")
    .Attr("ratio: int >= 0").Attr("aligned: bool").Attr("min_side: string")
    .Output("gradients: levels * T").SetShapeFn(binding::roi_align_grad_shape);

REGISTER_OP("HarnessFocalLoss")
    .Input("logits: T").Input("classes: int32")
    .Attr("T: {float, double}").Attr("alpha: string").Attr("gamma: string").Attr("smoothing: string")
    .Output("total: T").SetShapeFn(binding::focal_shape);

REGISTER_OP("HarnessFocalLossGrad")
    .Input("logits: T").Input("classes: int32").Input("upstream: T")
    .Attr("T: {float, double}").Attr("alpha: string").Attr("gamma: string").Attr("smoothing: string")
    .Output("gradients: T").SetShapeFn(binding::focal_shape);
