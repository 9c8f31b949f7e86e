"""Which object an anchor or proposal learns, and which of them are sampled.

Shapes: M objects, N candidates (anchors or proposals).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MASK_32 = 0xFFFFFFFF
_INDEX_BITS = 24


def match(iou_MN: Tensor, foreground: float, background: float, *, keep_best: bool) -> tuple[Tensor, Tensor]:
    """Assign to each candidate the object it overlaps most.

    Args:
        iou_MN: overlap of M objects, M >= 0, with N candidates.
        foreground: candidates with at least this IoU are foreground.
        background: candidates below this IoU are background; those between take no part.
        keep_best: every candidate that ties an object's best IoU is foreground too, and keeps its own best object
            (Faster R-CNN, section 3.1.2). An object that overlaps no candidate makes none foreground; published code
            of either flavour makes every candidate foreground that overlaps nothing, for an object outside all
            anchors.

    Returns:
        Object of each candidate, int64 [N] (0 where there is none), and its state, int8 [N]: 1 foreground,
        0 background, -1 ignored.
    """
    if len(iou_MN) == 0:
        zeros_N = torch.zeros(iou_MN.shape[1], dtype=torch.int64, device=iou_MN.device)
        return zeros_N, zeros_N.to(torch.int8)
    best_N, object_N = iou_MN.max(dim=0)
    foreground_N = best_N >= foreground
    if keep_best:
        top_M1 = iou_MN.max(dim=1, keepdim=True).values
        foreground_N |= ((iou_MN == top_M1) & (top_M1 > 0)).any(dim=0)
    state_N = foreground_N.to(torch.int8) - (~foreground_N & (best_N >= background)).to(torch.int8)
    return object_N, state_N


@dataclass(frozen=True, slots=True)
class Sampler:
    """Random choices of one step that depend on seed, step and image alone, not on the rank or the batch.

    Keys are a counter-based hash (the 32-bit finaliser of C. Wellons, `lowbias32`) computed where the tensors are:
    no generator state, no wait for the device, and the same choice on a CPU and on a GPU.
    """

    seed: int
    """Of the run."""
    step: int
    """Optimizer step, or any number that changes with it."""

    def keys(self, image_id: int, stream: int, count: int, device: torch.device) -> Tensor:
        """Distinct random int64 keys [count]; a lower key is drawn first."""
        state = 0
        for part in (self.seed, self.step, image_id, image_id >> 32, stream):
            state = _hash_int(state ^ (part & _MASK_32)) + 0x9E3779B9 & _MASK_32
        index_N = torch.arange(count, dtype=torch.int64, device=device)
        return (_hash(index_N ^ state) << _INDEX_BITS) | index_N

    def select(self, state_N: Tensor, count: int, fraction: float, image_id: int, stream: int) -> Tensor:
        """Draw at most count·fraction foreground candidates and fill up with background, bool [N].

        Args:
            state_N: 1 foreground, 0 background, -1 never drawn.
            count: how many to draw at most.
            fraction: of the draw that may be foreground.
            image_id: of the image that the candidates are of.
            stream: tells draws of one image apart: 0 anchors, 1 RoIs.
        """
        keys_N = self.keys(image_id, stream, len(state_N), state_N.device)
        foreground_N = _lowest(keys_N, state_N == 1, int(count * fraction))
        wanted = count - foreground_N.sum()
        background_N = _lowest(keys_N, state_N == 0, count, wanted)
        return foreground_N | background_N


def _lowest(keys_N: Tensor, allowed_N: Tensor, count: int, wanted: Tensor | None = None) -> Tensor:
    """The allowed candidates of lowest key: at most `count`, and at most `wanted` where the device knows that."""
    never = torch.iinfo(torch.int64).max
    keys_N = keys_N.masked_fill(~allowed_N, never)
    taken = keys_N.topk(min(count, len(keys_N)), largest=False, sorted=True)
    valid_K = taken.values < never
    if wanted is not None:
        valid_K &= torch.arange(len(valid_K), device=valid_K.device) < wanted
    return torch.zeros_like(allowed_N).scatter_(0, taken.indices, valid_K)


def _hash(values_N: Tensor) -> Tensor:
    """`lowbias32` of int64 values in 0..2^32-1; products wrap, their low 32 bits stay right."""
    values_N = values_N ^ (values_N >> 16)
    values_N = (values_N * 0x7FEB352D) & _MASK_32
    values_N = values_N ^ (values_N >> 15)
    values_N = (values_N * 0x846CA68B) & _MASK_32
    return values_N ^ (values_N >> 16)


def _hash_int(value: int) -> int:
    value = ((value ^ (value >> 16)) * 0x7FEB352D) & _MASK_32
    value = ((value ^ (value >> 15)) * 0x846CA68B) & _MASK_32
    return value ^ (value >> 16)
