"""TensorFlow's NMS on the boxes of a file: a call for every line read, answered with its seconds; see kernels.py."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from timing import best_of


def main(boxes: Path, most: int) -> None:
    """Serve until there are no more lines."""
    boxes_N4 = np.load(boxes)
    scores = np.random.default_rng(4).random((1, len(boxes_N4), 1), dtype=np.float32)
    boxes_BN14, scores_BN1 = tf.constant(boxes_N4[None, :, None, [1, 0, 3, 2]]), tf.constant(scores)

    @tf.function
    def suppressed() -> tf.Tensor:
        return tf.image.combined_non_max_suppression(
            boxes_BN14, scores_BN1, most, most, iou_threshold=0.7, clip_boxes=False
        )[0]

    def call() -> object:
        return suppressed().numpy()

    for _ in sys.stdin:
        print(best_of(call), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
