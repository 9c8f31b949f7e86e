"""The focal loss, summed, with a gradient of its own.

Shapes: N rows of any number of axes, K classes.
"""

import tensorflow as tf

from backends.tf_impl.kernels.rules import Focal

_FAR = 1e5
"""Slopes change no more behind logits of this size."""


def focal_loss(logits_NK: tf.Tensor, classes_N: tf.Tensor, rules: Focal) -> tf.Tensor:
    """Σ -α·(1 - p)^γ·log p over all logits, p the probability of the truth (Lin et al. 2017); a float32 scalar.

    With x the logit of the truth, p = σ(x), log p = -softplus(-x) and (1 - p)^γ = exp(-γ·softplus(x)): no term
    overflows or loses its digits at any logit. The gradient is written out, and computed from the logits anew, so that
    nothing of this size is kept between the passes.

    Args:
        logits_NK: of any float type, [..., K].
        classes_N: int32 [...], 0..K-1, -1 for background; rows of lower classes are not counted.
        rules: alpha, gamma and label smoothing, which moves the targets of the cross entropy log p only.
    """
    sign_NK = tf.where(classes_N[..., None] == tf.range(logits_NK.shape[-1]), 1.0, -1.0)
    counted_N1 = (classes_N >= -1)[..., None]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def total(logits: tf.Tensor) -> tuple[tf.Tensor, object]:
        loss_N = tf.reduce_sum(_losses(_truths(logits, sign_NK), sign_NK, rules), axis=-1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            slope_NK = sign_NK * _slopes(_truths(logits, sign_NK), sign_NK, rules)
            return tf.cast(tf.where(counted_N1, upstream * slope_NK, 0.0), logits.dtype)

        return tf.reduce_sum(tf.where(counted_N1[..., 0], loss_N, 0.0)), gradient

    return total(logits_NK)


def _truths(logits_NK: tf.Tensor, sign_NK: tf.Tensor) -> tf.Tensor:
    """Logits of the truth."""
    return tf.cast(logits_NK, tf.float32) * sign_NK


def _terms(x_NK: tf.Tensor, sign_NK: tf.Tensor, rules: Focal) -> tuple[tf.Tensor, tf.Tensor]:
    """α·(1 - p)^γ and the cross entropy."""
    alpha_NK = tf.where(sign_NK > 0, rules.alpha, 1 - rules.alpha)
    wrong_NK, right_NK = tf.nn.softplus(x_NK), tf.nn.softplus(-x_NK)  # -log(1 - p), -log p
    weight_NK = alpha_NK * tf.exp(-rules.gamma * wrong_NK) if rules.gamma else alpha_NK
    smooth = rules.smoothing / 2
    return weight_NK, (1 - smooth) * right_NK + smooth * wrong_NK if smooth else right_NK


def _losses(x_NK: tf.Tensor, sign_NK: tf.Tensor, rules: Focal) -> tf.Tensor:
    weight_NK, entropy_NK = _terms(x_NK, sign_NK, rules)
    return tf.math.multiply_no_nan(entropy_NK, weight_NK)  # an infinite logit that is right loses nothing


def _slopes(x_NK: tf.Tensor, sign_NK: tf.Tensor, rules: Focal) -> tf.Tensor:
    """Derivatives of the losses by the logits of the truth; those at infinity are the limits."""
    x_NK = tf.clip_by_value(x_NK, -_FAR, _FAR)
    weight_NK, entropy_NK = _terms(x_NK, sign_NK, rules)
    p_NK, smooth = tf.sigmoid(x_NK), rules.smoothing / 2
    slope_NK = smooth * p_NK - (1 - smooth) * tf.sigmoid(-x_NK) - rules.gamma * p_NK * entropy_NK
    return weight_NK * slope_NK
