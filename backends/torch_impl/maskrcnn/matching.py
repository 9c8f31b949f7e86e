"""Which candidates (anchors or proposals) are sampled.

Shapes: N candidates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MASK_32 = 0xFFFFFFFF
_INDEX_BITS = 24


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
