"""TensorFlow as the tests of its backends want it: quiet, on one thread of the CPU, and generated sets to share.

TensorFlow is imported here, before any test module: its settings must stand before its runtime starts.
"""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from harness.data import CocoMini, generate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what TensorFlow and its dependencies warn of while they load is not ours
    import tensorflow as tf

# Results equal to the bit need one thread: several split a sum by its shape, and so by the batch size.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
if not os.environ.get("HARNESS_REQUIRE_GPU"):
    tf.config.set_visible_devices([], "GPU")


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """Paths of a coco-mini train set (32 images of 64 px) and val set (17), with gray, CMYK, empty and crowded ones."""
    folder = tmp_path_factory.mktemp("coco-mini")
    for split, images in (("train", 32), ("val", 17)):
        generate(folder / split, CocoMini(images=images, size=64, split=split))
    return str(folder / "train"), str(folder / "val")
