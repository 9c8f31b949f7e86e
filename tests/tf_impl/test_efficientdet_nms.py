"""Choice of candidates and non-maximum suppression, against oracles in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.nms import best_candidates, suppress

pytestmark = pytest.mark.tf


def iou_of(box, boxes):
    """Overlap of one box with many."""
    near, far = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.maximum(far - near, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + area - both
    return both / np.maximum(union, np.finfo(np.float32).tiny)


def class_by_class(boxes, scores, classes, config):
    """Each class by itself until nothing is left, then the best of all: (candidate, score) pairs."""
    kept = []
    for wanted in np.unique(classes):
        index = np.flatnonzero(classes == wanted)
        left = scores[index].copy()
        while len(index) and left.max() > config.score_threshold:
            best = int(left.argmax())
            kept.append((int(index[best]), float(left[best])))
            iou = iou_of(boxes[index[best]], boxes[index])
            left = np.where(iou > 0.5, -1, left) if config.nms == "hard" else left * np.exp(-(iou**2) / 0.5)
            index, left = np.delete(index, best), np.delete(left, best)
    return sorted(kept, key=lambda pair: -pair[1])[: config.max_detections]


def scene(seed, count, classes):
    """Boxes that overlap a lot, in order of their scores."""
    random = np.random.default_rng(seed)
    near = random.uniform(0, 60, (2, count, 2))
    boxes = np.concatenate((near, near + random.uniform(0, 60, (2, count, 2))), axis=-1).astype(np.float32)
    scores = np.sort(random.uniform(0, 1, (2, count)).astype(np.float32))[:, ::-1].copy()
    return boxes, scores, random.integers(0, classes, (2, count)).astype(np.int32)


@pytest.fixture(scope="module")
def compiled():
    """Hard and soft suppression, compiled by XLA once for all scenes."""
    configs = {
        nms: EfficientDetConfig.preset("d0", nms=nms, score_threshold=0.05, max_detections=20)
        for nms in ("hard", "soft")
    }
    run = {
        nms: tf.function(lambda *inputs, config=config: suppress(*inputs, config), jit_compile=True)
        for nms, config in configs.items()
    }
    return configs, run


@pytest.mark.parametrize("nms", ["hard", "soft"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([1, 3]))
def test_suppression_equals_that_of_each_class_by_itself(compiled, nms, seed, classes):
    """Candidates and scores are those of the oracle; slots without a detection score 0."""
    configs, run = compiled
    boxes, scores, labels = scene(seed, 64, classes)
    index, found = run[nms](tf.constant(boxes), tf.constant(scores), tf.constant(labels))
    for image in range(2):
        expected = class_by_class(boxes[image], scores[image], labels[image], configs[nms])
        count = len(expected)
        assert [candidate for candidate, _ in expected] == index.numpy()[image, :count].tolist()
        np.testing.assert_allclose([score for _, score in expected], found.numpy()[image, :count], rtol=1e-5)
        assert not found.numpy()[image, count:].any()


@pytest.mark.parametrize("nms", ["hard", "soft"])
def test_eager_suppression_equals_the_compiled_one(compiled, nms):
    """The same body gives the same candidates without a graph, with more and with fewer than the slots."""
    configs, run = compiled
    for classes in (1, 50):
        inputs = [tf.constant(part) for part in scene(1, 64, classes)]
        for expected, actual in zip(suppress(*inputs, configs[nms]), run[nms](*inputs), strict=True):
            np.testing.assert_allclose(expected, actual, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 70), ties=st.booleans())
def test_candidates_are_the_highest_logits(seed, count, ties):
    """Sieving anchors first changes nothing, not even the order of equal logits."""
    random = np.random.default_rng(seed)
    logits = random.integers(0, 20, (2, 40, 3)) if ties else random.normal(size=(2, 40, 3))
    logits = tf.constant(logits, tf.float32)
    best = best_candidates(logits, count)
    expected = tf.math.top_k(tf.reshape(logits, (2, -1)), count)
    np.testing.assert_array_equal(expected.values, best.logits_BC)
    np.testing.assert_array_equal(expected.indices, best.anchors_BC * 3 + best.classes_BC)
