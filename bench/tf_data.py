"""What tf.data costs, in images per CPU-second: our order of work beside the published one, and data made in memory.

Published order (both TensorFlow systems): decode, make the whole image float and normalise it, mirror, resize, pad.
Ours: decode only what is needed, resize and mirror as uint8, pad; normalising is left to the device. Each pair gives
batches of the same shape from the same files, in turns. Bar: 3 ×.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from backends.tf_impl.data import Pipeline
from harness.data import CocoMini, Dataset, FixedCanvas, Share, generate, open_dataset

BATCH = 4
BATCHES = 12
ROUNDS = 5
SETTLE_S = 0.5
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MASK_RCNN = FixedCanvas(832, 1344)
EFFICIENTDET = FixedCanvas(512, 512, jitter=(0.1, 2.0))
BAR = 3.0
Source = Callable[[], Iterator[object]]


def ours(dataset: Dataset, framing: FixedCanvas) -> Source:
    """Our pipeline on one thread."""

    def batches() -> Iterator[object]:
        pipeline = Pipeline(dataset, framing, Share(0, 1, BATCH), threads=1, depth=1)
        usable = range(len(dataset))
        return pipeline.train_batches(usable, lambda index, *_: {"index": np.int64(index)}, seed=0)

    return batches


def published(paths: list[str], framing: FixedCanvas) -> Source:
    """The published order on one thread; `jitter` scales the whole image before the canvas is cut out of it."""
    canvas = tf.constant((framing.height, framing.width), tf.float32)

    def one(path: tf.Tensor) -> tf.Tensor:
        image_HW3 = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        image_HW3 = (tf.image.convert_image_dtype(image_HW3, tf.float32) - MEAN) / DEVIATION
        image_HW3 = tf.image.random_flip_left_right(image_HW3)
        stored_2 = tf.cast(tf.shape(image_HW3)[:2], tf.float32)
        factor = tf.random.uniform((), *framing.jitter) if framing.jitter else tf.constant(1.0)
        size_2 = tf.cast(stored_2 * tf.reduce_min(factor * canvas / stored_2), tf.int32)
        image_HW3 = tf.image.resize(image_HW3, size_2, method="bilinear")
        room_2 = tf.maximum(size_2 - (framing.height, framing.width), 0)
        top_left_2 = tf.cast(tf.random.uniform((2,)) * tf.cast(room_2, tf.float32), tf.int32)
        image_HW3 = image_HW3[top_left_2[0] :, top_left_2[1] :][: framing.height, : framing.width]
        return tf.image.pad_to_bounding_box(image_HW3, 0, 0, framing.height, framing.width)

    def batches() -> Iterator[object]:
        dataset = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
        dataset = dataset.map(one, num_parallel_calls=1).batch(BATCH, drop_remainder=True).prefetch(1)
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        options.threading.max_intra_op_parallelism = 1
        yield from dataset.with_options(options)

    return batches


def rate(source: Source) -> float:
    """Images per CPU-second of the whole process; begins and ends with full buffers, so that none is given away."""
    with closing(source()) as batches:  # type: ignore[type-var]  # generators, which can be closed
        next(batches)
        time.sleep(SETTLE_S)
        start = time.process_time()
        for _ in range(BATCHES):
            next(batches)
        time.sleep(SETTLE_S)
        return BATCH * BATCHES / (time.process_time() - start)


def rates(*sources: Source) -> list[list[float]]:
    """The rates of each source, round by round, in turns."""
    found: list[list[float]] = [[] for _ in sources]
    for _ in range(ROUNDS):
        for source, values in zip(sources, found, strict=True):
            values.append(rate(source))
    return found


def main() -> None:
    """Print two lines for each model: beside the published order, and data made in memory."""
    tf.config.set_visible_devices([], "GPU")
    synthetic = open_dataset("synthetic:640x480:64")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "set", CocoMini(images=64, size=640))
        dataset = open_dataset(f"{folder}/set")
        paths = [str(path) for path in sorted(Path(folder).glob("set/images/**/*.jpg"))]
        for title, framing in (("Mask R-CNN, 832 × 1344", MASK_RCNN), ("EfficientDet, 512 × 512", EFFICIENTDET)):
            found = rates(ours(dataset, framing), published(paths, framing), ours(synthetic, framing))
            our, their, made = (statistics.median(values) for values in found)
            ratios = sorted(a / b for a, b in zip(found[0], found[1], strict=True))
            print(
                f"tf.data loader, {title}: {our:,.0f} images per CPU-second, published order {their:,.0f}"
                f" ({statistics.median(ratios):.1f} ×, {ratios[0]:.1f} to {ratios[-1]:.1f}; bar {BAR:.0f} ×)"
            )
            print(f"synthetic data, {title}: {made:,.0f} images per CPU-second")


if __name__ == "__main__":
    main()
