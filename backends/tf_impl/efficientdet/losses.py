"""Focal and box losses, summed, in float32 whatever the outputs are.

Shapes: B images, N anchors, K classes.
"""

from collections.abc import Iterable

import tensorflow as tf

from backends.tf_impl.efficientdet.config import EfficientDetConfig


def focal_sum(logits_BNK: tf.Tensor, classes_BN: tf.Tensor, config: EfficientDetConfig) -> tf.Tensor:
    """Σ -α·(1 - p)^γ·log p over all logits, p the probability of the truth (Lin et al. 2017); a float32 scalar.

    With x the logit of the truth, p = σ(x), log p = -softplus(-x) and (1 - p)^γ = exp(-γ·softplus(x)): no term
    overflows or loses its digits at any logit. The gradient is written out, and computed from the logits anew, so that
    nothing of this size is kept between the passes.

    Args:
        logits_BNK: of any float type.
        classes_BN: 0..K-1, -1 for background.
        config: alpha, gamma and label smoothing, which moves the targets of the cross entropy log p only.
    """
    true_BNK = classes_BN[..., None] == tf.range(logits_BNK.shape[-1])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def total(logits: tf.Tensor) -> tuple[tf.Tensor, object]:
        loss_BNK, _ = _focal(logits, true_BNK, config)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            _, slope_BNK = _focal(logits, true_BNK, config)
            return tf.cast(upstream * slope_BNK, logits.dtype)

        return tf.reduce_sum(tf.reduce_sum(loss_BNK, axis=-1)), gradient

    return total(logits_BNK)


def _focal(logits_BNK: tf.Tensor, true_BNK: tf.Tensor, config: EfficientDetConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of each logit and its derivative."""
    sign_BNK = tf.where(true_BNK, 1.0, -1.0)
    x_BNK = tf.cast(logits_BNK, tf.float32) * sign_BNK
    alpha_BNK = tf.where(true_BNK, config.focal_alpha, 1 - config.focal_alpha)
    wrong_BNK, right_BNK = tf.nn.softplus(x_BNK), tf.nn.softplus(-x_BNK)  # -log(1 - p), -log p
    weight_BNK = alpha_BNK * tf.exp(-config.focal_gamma * wrong_BNK)
    smooth = config.label_smoothing / 2
    entropy_BNK = (1 - smooth) * right_BNK + smooth * wrong_BNK
    p_BNK = tf.sigmoid(x_BNK)
    slope_BNK = smooth * p_BNK - (1 - smooth) * tf.sigmoid(-x_BNK) - config.focal_gamma * p_BNK * entropy_BNK
    return weight_BNK * entropy_BNK, sign_BNK * weight_BNK * slope_BNK


def box_sum(codes_BN4: tf.Tensor, wanted_BN4: tf.Tensor, delta: float) -> tf.Tensor:
    """Σ Huber loss over the numbers whose target is not 0, those of background anchors among them; a float32 scalar."""
    error_BN4 = tf.where(wanted_BN4 != 0, tf.cast(codes_BN4, tf.float32) - wanted_BN4, 0.0)
    size_BN4 = tf.abs(error_BN4)
    inner_BN4 = tf.minimum(size_BN4, delta)
    return tf.reduce_sum(0.5 * inner_BN4 * inner_BN4 + delta * (size_BN4 - inner_BN4))


def l2_loss(variables: Iterable[tf.Variable], decay: float) -> tf.Tensor:
    """Half the decay times the sum of squares of all trainable kernels, a float32 scalar; not of biases and norms."""
    kernels = [variable for variable in variables if variable.trainable and variable.shape.rank == 4]
    return decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels]) if decay else tf.constant(0.0)
