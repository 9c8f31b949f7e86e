"""What the layers compute on the way to detections, to be compared with another framework's.

Shapes: B images, H and W of the padded batch, R boxes of an image, S pixels a side of a mask, A anchors a position,
K classes, C channels.
"""

import tensorflow as tf

from backends.tf_impl.maskrcnn.model import MaskRCNN


def intermediates(
    model: MaskRCNN, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor, boxes_BR4: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Both stages' tensors by name, the second's on given boxes instead of proposals.

    Args:
        model: runs in inference.
        images_BHW3: uint8, RGB.
        sizes_B2: height and width of each image's valid area, int32.
        boxes_BR4: float32, in the frame of the resized image.

    Returns:
        C2..C5 and P2..P6, [B, h, w, C]; rpn_objectness_0..4, [B, h, w, A]; rpn_deltas_0..4, [B, h, w, 4A];
        box_logits, [B·R, K]; box_deltas, [B·R, 4K]; mask_logits, [B·R, S, S, K].
    """
    trunk = model.backbone.body(model.normalize(images_BHW3, sizes_B2))
    pyramid = model.backbone.fpn(trunk)
    head = model.rpn.head
    hidden = [tf.nn.relu(head.conv[0][0](level)) for level in pyramid]
    logits_BRK, deltas_BRK4 = model.box_outputs(pyramid, boxes_BR4)
    classes = logits_BRK.shape[-1]
    return {
        **{f"C{level}": tensor for level, tensor in enumerate(trunk, start=2)},
        **{f"P{level}": tensor for level, tensor in enumerate(pyramid, start=2)},
        **{f"rpn_objectness_{level}": head.cls_logits(x) for level, x in enumerate(hidden)},
        **{f"rpn_deltas_{level}": head.bbox_pred(x) for level, x in enumerate(hidden)},
        "box_logits": tf.reshape(logits_BRK, (-1, classes)),
        "box_deltas": tf.reshape(deltas_BRK4, (-1, 4 * classes)),
        "mask_logits": model.mask_outputs(pyramid, boxes_BR4),
    }
