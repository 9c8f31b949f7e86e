"""Focal and box losses, summed, in float32 whatever the outputs are.

Shapes: B images, N anchors, K classes.
"""

from collections.abc import Iterable

import tensorflow as tf

from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.kernels import Focal, Kernels, framework


def focal_sum(
    logits_BNK: tf.Tensor, classes_BN: tf.Tensor, config: EfficientDetConfig, kernels: Kernels = framework
) -> tf.Tensor:
    """The focal loss over all logits, a float32 scalar, differentiable by them.

    Args:
        logits_BNK: of any float type.
        classes_BN: 0..K-1, -1 for background.
        config: alpha, gamma and label smoothing, which moves the targets of the cross entropy only.
        kernels: what computes it.
    """
    rules = Focal(config.focal_alpha, config.focal_gamma, config.label_smoothing)
    return kernels.focal_loss(logits_BNK, classes_BN, rules)


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
