"""Which anchors and proposals are learnt from.

Shapes: B images, N candidates (anchors or proposals), S sampled ones.
"""

from dataclasses import dataclass

import tensorflow as tf

_MASK_32 = 0xFFFFFFFF
_INDEX_BITS = 24
_NEVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Sampler:
    """Random choices of one step that depend on seed, step and image alone, not on the rank or the batch.

    Keys are a counter-based hash (the 32-bit finaliser of C. Wellons, `lowbias32`): no generator state, and the same
    choice in either framework, compiled or not, on a CPU and on a GPU.
    """

    seed: int | tf.Tensor
    """Of the run."""
    step: int | tf.Tensor
    """Optimizer step, or any number that changes with it; int64."""

    def keys(self, image_ids_B: tf.Tensor, stream: int, count: int) -> tf.Tensor:
        """Distinct random int64 keys [B, count]; a lower key is drawn first."""
        state_B = tf.zeros_like(image_ids_B)
        for part in (self.seed, self.step, image_ids_B, tf.bitwise.right_shift(image_ids_B, _i64(32)), stream):
            state_B = _low(_hash(state_B ^ _low(_i64(part))) + _i64(0x9E3779B9))
        index_N = tf.range(count, dtype=tf.int64)
        return tf.bitwise.left_shift(_hash(index_N ^ state_B[:, None]), _i64(_INDEX_BITS)) | index_N

    def draw(self, state_BN: tf.Tensor, image_ids_B: tf.Tensor, share: tuple[int, float], stream: int) -> "Drawn":
        """Draw foreground candidates, at most a fraction, and fill up with background.

        Args:
            state_BN: 1 foreground, 0 background, -1 never drawn.
            image_ids_B: int64.
            share: how many to draw at most, and the fraction of these that may be foreground.
            stream: tells draws of one image apart: 0 anchors, 1 RoIs.
        """
        count, fraction = share
        candidates = state_BN.shape[1]
        keys_BN = self.keys(image_ids_B, stream, candidates)
        front_BF, fronts_B = _lowest(keys_BN, state_BN == 1, min(int(count * fraction), candidates))
        back_BS, backs_B = _lowest(keys_BN, state_BN == 0, min(count, candidates))
        slot_S = tf.range(min(count, candidates))
        is_front_BS = slot_S < fronts_B[:, None]
        place_BS = tf.where(is_front_BS, tf.broadcast_to(slot_S, is_front_BS.shape), slot_S - fronts_B[:, None])
        front_BS = tf.gather(front_BF, tf.minimum(place_BS, front_BF.shape[1] - 1), batch_dims=1)
        index_BS = tf.where(is_front_BS, front_BS, tf.gather(back_BS, place_BS, batch_dims=1))
        used_BS = slot_S < (fronts_B + backs_B)[:, None]
        return Drawn(index_BS, used_BS, is_front_BS)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample in slots, foreground first."""

    index_BS: tf.Tensor
    """int32; of a candidate."""
    used_BS: tf.Tensor
    """bool; false where there was nothing more to draw."""
    foreground_BS: tf.Tensor
    """bool."""


def _lowest(keys_BN: tf.Tensor, allowed_BN: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Indices [B, count] of the allowed candidates of lowest key, and how many of them there are [B]."""
    taken = tf.math.top_k(-tf.where(allowed_BN, keys_BN, _i64(_NEVER)), max(count, 1))
    return taken.indices, tf.minimum(tf.reduce_sum(tf.cast(allowed_BN, tf.int32), axis=1), count)


def _hash(values_N: tf.Tensor) -> tf.Tensor:
    """`lowbias32` of int64 values in 0..2^32-1; products wrap, their low 32 bits stay right."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        values_N = values_N ^ tf.bitwise.right_shift(values_N, _i64(shift))
        values_N = _low(values_N * _i64(factor))
    return values_N ^ tf.bitwise.right_shift(values_N, _i64(16))


def _low(values_N: tf.Tensor) -> tf.Tensor:
    return values_N & _i64(_MASK_32)


def _i64(value: int | tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.int64)
