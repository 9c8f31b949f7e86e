"""The focal loss, `torch.ops.detection.focal_loss`, and its gradient; see kernels/include/focal_loss.h."""

from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd

from backends.torch_impl.kernels.binding import call, dense, operation, workspace

_TYPES = {torch.float32: 0, torch.float64: 1}
_INPUTS = "Tensor logits, Tensor classes, float alpha, float gamma, float smoothing"


def _total(logits: Tensor, *_: Any) -> Tensor:
    return logits.new_empty(())


def _gradients(_upstream: Tensor, logits: Tensor, *_: Any) -> Tensor:
    return logits.new_empty(logits.shape)


@operation("focal_loss", f"({_INPUTS}) -> Tensor", _total)
def focal_loss(logits: Tensor, classes: Tensor, *rule: float) -> Tensor:
    """The sum over all answers, of the logits' type; `logits` [N, K] float32 or float64, `classes` int32 [N]."""
    logits, classes = dense(logits, logits.dtype), dense(classes, torch.int32)
    total, scratch = logits.new_empty(()), workspace("focal_loss", logits.device, *logits.shape)
    read = (logits, classes, *logits.shape, _TYPES[logits.dtype])
    call("focal_loss", logits.device, *read, *rule, total, scratch)
    return total


@operation("focal_loss_backward", f"(Tensor upstream, {_INPUTS}) -> Tensor", _gradients)
def focal_loss_backward(upstream: Tensor, logits: Tensor, classes: Tensor, *rule: float) -> Tensor:
    """The gradient of the logits, [N, K]."""
    logits, classes = dense(logits, logits.dtype), dense(classes, torch.int32)
    upstream, gradients_NK = dense(upstream, logits.dtype), torch.empty_like(logits)
    read = (logits, classes, *logits.shape, _TYPES[logits.dtype])
    call("focal_loss_backward", logits.device, *read, *rule, upstream, gradients_NK)
    return gradients_NK


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  torch's signature
    logits, classes, *rule = inputs
    ctx.save_for_backward(logits, classes)
    ctx.rule = rule


def _backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    return focal_loss_backward(upstream, *ctx.saved_tensors, *ctx.rule), None, None, None, None


register_autograd("detection::focal_loss", _backward, setup_context=_save)
