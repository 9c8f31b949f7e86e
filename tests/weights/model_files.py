"""Small models' tensors, by the specifications that tests/torch_impl compares with torchvision and effdet."""

import numpy as np

from harness.weights import efficientdet, maskrcnn

SMALL_MASKRCNN = maskrcnn.Kind(resnet="resnet10", fpn=4, anchors=3, dense=8, mask=4, classes=3)
D0 = efficientdet.Kind(level=0, lite=False, weighted=True, classes=2, anchors=9)


def filled(shapes, prefix=""):
    """Values without meaning in these shapes, torch's layout."""
    stream = np.random.default_rng(0)
    return {prefix + name: stream.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
