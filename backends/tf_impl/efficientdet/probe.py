"""What the layers compute on the way to detections, to be compared with another framework's.

Shapes: B images, H and W of a level, N anchors of it, A of them a position, K classes or 4, C channels.
"""

import tensorflow as tf

from backends.tf_impl.efficientdet.model import EfficientDet


def intermediates(model: EfficientDet, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> dict[str, tf.Tensor]:
    """Taps, pyramid and outputs by name.

    Args:
        model: runs in inference.
        images_BHW3: uint8, RGB.
        sizes_B2: height and width of each image's valid area, int32.

    Returns:
        C3..C5 and P3..P7, [B, H, W, C]; class_logits_3..7 and box_deltas_3..7, [B, H, W, A·K].
    """
    pixels_BHW3 = model.normalize(images_BHW3, sizes_B2)
    features, pyramid = model.features(pixels_BHW3), model.pyramid(pixels_BHW3)
    logits, codes = model.outputs(pixels_BHW3)
    taps = {f"C{level}": tap for level, tap in enumerate(features, start=3)}
    taps |= {f"P{level}": tap for level, tap in enumerate(pyramid, start=3)}
    for name, flat in (("class_logits", logits), ("box_deltas", codes)):
        maps = (_as_map(values, tap) for values, tap in zip(flat, pyramid, strict=True))
        taps |= {f"{name}_{level}": values_BHWC for level, values_BHWC in enumerate(maps, start=3)}
    return taps


def _as_map(values_BNK: tf.Tensor, level_BHWC: tf.Tensor) -> tf.Tensor:
    """Values of anchors as channels of their positions, [B, H, W, A·K]."""
    batch, height, width, _ = level_BHWC.shape
    return tf.reshape(values_BNK, (batch, height, width, -1))
