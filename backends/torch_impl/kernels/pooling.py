"""RoIAlign, `torch.ops.detection.roi_align`, and its gradient; see kernels/include/roi_align.h.

Features are read where they lie, whatever their memory order; gradients come in the same order. What both schemas name
from `bins` on goes to the C functions as it is.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd

from backends.torch_impl.kernels.binding import call, dense, host_float64, host_int64, operation

_TYPES = {torch.float32: 0, torch.float64: 1}
_RULE = "float[] scales, int bins, int ratio, bool aligned, float min_side, bool channels_last"


def _pooled(features: Sequence[Tensor], rois: Tensor, *others: Any) -> Tensor:
    bins, *_, channels_last = others[3:]
    count, channels = rois.shape[0], features[0].shape[1]
    shape = (count, bins, bins, channels) if channels_last else (count, channels, bins, bins)
    return features[0].new_empty(shape)


def _gradients(upstream: Tensor, *others: Any) -> list[Tensor]:
    shapes, in_channels_last = others[3:5]
    empty = partial(torch.empty, dtype=upstream.dtype, device=upstream.device)
    orders = (torch.channels_last if last else torch.contiguous_format for last in in_channels_last)
    return [empty(tuple(shapes[4 * level : 4 * level + 4]), memory_format=order) for level, order in enumerate(orders)]


@operation("roi_align", f"(Tensor[] features, Tensor rois, Tensor images, Tensor levels, {_RULE}) -> Tensor", _pooled)
def roi_align(
    features: Sequence[Tensor], rois: Tensor, images: Tensor, levels: Tensor, scales: Sequence[float], *rule: Any
) -> Tensor:
    """Pooled RoIs, [R, C, bins, bins], or [R, bins, bins, C] with `channels_last`, in the type of the features.

    `features` are [B, C, H, W], float32 or float64; `rois` is of their type, `images` and `levels` are int32.
    """
    kind, channels = features[0].dtype, features[0].shape[1]
    rois, images, levels = dense(rois, kind), dense(images, torch.int32), dense(levels, torch.int32)
    out = _pooled(features, rois, images, levels, scales, *rule)
    read = (list(features), *_geometry(features, scales), len(features[0]), channels)
    call("roi_align", rois.device, *read, _TYPES[kind], rois, images, levels, len(rois), *rule, out)
    return out


def _geometry(features: Sequence[Tensor], scales: Sequence[float]) -> tuple[Any, Any, Any, int]:
    shapes = host_int64([side for feature in features for side in feature.shape[2:]])
    strides = host_int64([stride for feature in features for stride in feature.stride()])
    return shapes, strides, host_float64(scales), len(features)


@operation(
    "roi_align_backward",
    "(Tensor upstream, Tensor rois, Tensor images, Tensor levels, SymInt[] shapes, bool[] in_channels_last,"
    f" {_RULE}) -> Tensor[]",
    _gradients,
)
def roi_align_backward(upstream: Tensor, rois: Tensor, images: Tensor, levels: Tensor, *others: Any) -> list[Tensor]:
    """Gradients of the features; `shapes` are their four sides, level by level, and `in_channels_last` their order."""
    shapes, _, scales, *rule = others
    kind = upstream.dtype
    upstream, rois = dense(upstream, kind), dense(rois, kind)
    images, levels = dense(images, torch.int32), dense(levels, torch.int32)
    gradients = [gradient.zero_() for gradient in _gradients(upstream, rois, images, levels, *others)]
    write = (gradients, *_geometry(gradients, scales), shapes[0], shapes[1])
    read = (_TYPES[kind], rois, images, levels, len(rois))
    call("roi_align_backward", rois.device, *write, *read, *rule, upstream)
    return gradients


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  torch's signature
    features, rois, images, levels, *rule = inputs
    ctx.save_for_backward(rois, images, levels)
    ctx.shapes = [side for feature in features for side in feature.shape]
    ctx.orders = [_is_channels_last(feature) for feature in features]
    ctx.rule = rule


def _is_channels_last(feature: Tensor) -> bool:
    return feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()


def _backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    gradients = roi_align_backward(upstream, *ctx.saved_tensors, ctx.shapes, ctx.orders, *ctx.rule)
    return gradients, *[None] * 9


register_autograd("detection::roi_align", _backward, setup_context=_save)
