"""Evaluation and inference: the same detections however images are batched, in the stored images' own frame.

A pass is compiled once for each batch size; works that differ in nothing else share what was compiled.
"""

import contextlib
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tf_runs import confident, every, everything, opened, take, trial

from backends.tf_impl.graph import eager
from backends.tf_impl.maskrcnn.evaluate import Inference
from backends.tf_impl.maskrcnn.weights import save_weights
from backends.tf_impl.work import InferenceOutput
from harness.api import UnsupportedTrialError
from harness.data import Frame, open_dataset

pytestmark = pytest.mark.tf
OUTPUTS = Inference.outputs


@pytest.fixture(scope="module")
def options(mini, tmp_path_factory):
    """Options of random weights that detect something."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with opened(trial("eval", options={"flavour": "torchvision"}), *mini) as work:
        confident(work._session.model, 10.0)
        save_weights(work._session.model, path)
    return {"flavour": "torchvision", "weights": str(path)}


@pytest.fixture(scope="module")
def singles(options, mini):
    """A work of single images."""
    with opened(trial("eval", options=options), *mini) as work:
        yield work


@pytest.fixture(scope="module")
def threes(options, mini):
    """A work of three images a batch."""
    with opened(trial("eval", options=options, batch_size_per_gpu=3), *mini) as work:
        yield work


@pytest.fixture(scope="module")
def whole(singles):
    """All detections, found one image at a time on one rank."""
    return everything(singles)


def assert_close(found, expected, atol):
    """Hold two passes to the same detections, boxes in pixels and scores within a tolerance."""
    assert found.keys() == expected.keys()
    for image_id, detections in found.items():
        other = expected[image_id]
        np.testing.assert_array_equal(detections.labels_N, other.labels_N)
        np.testing.assert_allclose(detections.scores_N, other.scores_N, rtol=0, atol=atol)
        np.testing.assert_allclose(detections.boxes_N4, other.boxes_N4, rtol=0, atol=100 * atol)
        assert np.mean(detections.masks_NHW != other.masks_NHW) < 1e-4


def test_every_image_is_seen_once_and_something_is_found(whole, mini):
    """All images of the set come back once each, with boxes, masks and category ids of the set."""
    dataset = open_dataset(mini[1])
    assert sorted(whole) == sorted(dataset.image_ids)
    sizes = {dataset.image(index).id: dataset.image(index) for index in range(len(dataset))}
    assert sum(len(found.scores_N) for found in whole.values()) > 50
    for image_id, found in whole.items():
        assert found.masks_NHW.shape == (len(found.scores_N), sizes[image_id].height, sizes[image_id].width)
        assert set(found.labels_N.tolist()) <= set(dataset.category_ids)
        assert (found.boxes_N4.dtype, found.scores_N.dtype, found.masks_NHW.dtype) == (np.float32, np.float32, np.bool_)
        assert (found.labels_N.dtype, found.boxes_N4.shape) == (np.int64, (len(found.scores_N), 4))
        assert (found.boxes_N4 >= 0).all()
        assert (found.boxes_N4[:, 2] <= sizes[image_id].width + 1e-3).all()
        assert (found.scores_N > 0.05).all()


def test_batch_sizes_do_not_change_detections(threes, whole):
    """Batches of three give the detections of single images; black images fill the last one and detect nothing."""
    batches = list(threes.batches())
    assert (sum(batch.images for batch in batches), batches[-1].images) == (17, 2)
    assert {batch.payload.images_BHW3.shape[0] for batch in batches} == {3}
    assert_close(everything(threes), whole, 1e-5)


def test_under_xla_the_detections_are_the_same(options, whole, mini):
    """Batches of two under XLA give the detections of single images in a graph; one shape compiles once."""
    with opened(trial("eval", options=options, batch_size_per_gpu=2, xla=True), *mini) as work:
        compiling = []
        found = {}
        for batch in work.batches():
            compiling.append(work.compiles(batch))
            found |= {image.image_id: image for image in work.detections(work.step(batch))}
        concrete = work._detector.predict.concrete(batch.payload.images_BHW3, batch.payload.sizes_B2)
    assert compiling == [True] + [False] * 8
    assert concrete.function_def.attr["_XlaMustCompile"].b
    assert_close(found, whole, 1e-4)


def test_shards_do_not_change_detections(singles, options, whole, mini):
    """The shards of two ranks are disjoint, and together the whole, to the bit."""
    shards = []
    for rank in range(2):
        with opened(trial("eval", options=options, gpus=2), *mini, rank=rank) as work:
            work._detector = singles._detector
            shards.append(everything(work))
    assert [len(shard) for shard in shards] == [9, 8]
    assert_close({**shards[0], **shards[1]}, whole, 0)


def test_a_pass_can_be_left_and_begun_again(singles, whole):
    """An abandoned pass leaves nothing behind: the next one sees every image and finds the same."""
    take(singles, 2)
    assert_close(everything(singles), whole, 0)


def test_detections_stand_in_the_stored_image(singles, mini):
    """A box is stretched by each side's own ratio, its mask pasted there, and its class becomes the category's id."""
    found = {
        "boxes": tf.constant([[[10.0, 2.0, 20.0, 8.0], [0.0, 0.0, 0.0, 0.0]]]),
        "scores": tf.constant([[0.75, 0.0]]),
        "labels": tf.constant([[2, 0]]),
        "masks": tf.concat((tf.ones((1, 1, 28, 28)), tf.zeros((1, 1, 28, 28))), axis=1),
        "count": tf.constant([1]),
    }
    (image,) = singles.detections(InferenceOutput(found, (Frame(5, (40, 50), (10, 25)),)))
    second = sorted(open_dataset(mini[1]).category_ids)[1]
    assert (image.image_id, image.labels_N.tolist(), image.boxes_N4.tolist()) == (5, [second], [[20, 8, 40, 32]])
    rows, columns = (image.masks_NHW[0].any(axis=axis).nonzero()[0] for axis in (1, 0))
    assert image.masks_NHW.shape == (1, 40, 50)
    np.testing.assert_allclose([columns[0], rows[0], columns[-1], rows[-1]], [20, 8, 40, 32], atol=1)


def test_nothing_found_is_no_detection(singles):
    """An image without detections comes back with empty arrays of the right shapes."""
    shapes = {"boxes": (1, 2, 4), "scores": (1, 2), "masks": (1, 2, 28, 28)}
    found = {name: tf.zeros(shape) for name, shape in shapes.items()}
    found |= {"labels": tf.zeros((1, 2), tf.int32), "count": tf.constant([0])}
    (image,) = singles.detections(InferenceOutput(found, (Frame(5, (40, 50), (10, 25)),)))
    assert (image.boxes_N4.shape, image.scores_N.shape, image.masks_NHW.shape) == ((0, 4), (0,), (0, 40, 50))


def test_reading_depends_on_every_output(singles):
    """The compiled function returns boxes, scores, labels, masks and counts, and a change in any is read."""
    batch = take(singles, 1)[0]
    output = singles.step(batch)
    concrete = singles._detector.predict.concrete(batch.payload.images_BHW3, batch.payload.sizes_B2)
    assert set(concrete.structured_outputs) == set(output.found) == {*OUTPUTS, "count"}
    read = dict(singles.read(output))
    assert list(read) == ["detections", *OUTPUTS]
    assert read["detections"] == int(output.found["count"][0]) > 0
    for name, read_name in (*zip(OUTPUTS, OUTPUTS, strict=True), ("count", "detections")):
        changed = InferenceOutput({**output.found, name: output.found[name] * 2}, output.frames)
        expected = {**read, read_name: 2 * read[read_name]}
        assert singles.read(changed) == pytest.approx(expected)


def test_what_is_read_leaves_black_images_out(threes):
    """The last batch of the pass holds two images and reads as they do without the black one."""
    last = list(threes.batches())[-1]
    output = threes.step(last)
    real = {name: value[:2] for name, value in output.found.items()}
    assert threes.read(output) == threes.read(InferenceOutput(real, output.frames))


def test_the_probe_is_in_pytorchs_order(threes):
    """Intermediate tensors are float32, NCHW, of the real images alone, with every box's logits by class."""
    last = list(threes.batches())[-1]
    with eager():
        found = threes.probe(last)
    assert all(tensor.dtype == np.float32 and tensor.flags.c_contiguous for tensor in found.values())
    names = [*(f"C{n}" for n in range(2, 6)), *(f"P{n}" for n in range(2, 7))]
    names += [f"rpn_{kind}_{level}" for kind in ("objectness", "deltas") for level in range(5)]
    assert list(found) == [*names, "box_logits", "box_deltas", "mask_logits"]
    assert [found[name].shape for name in ("C2", "P6", "rpn_objectness_0", "rpn_deltas_1")] == [
        (2, 64, 16, 32),
        (2, 16, 1, 2),
        (2, 3, 16, 32),
        (2, 12, 8, 16),
    ]
    classes, boxes = found["box_logits"].shape[1], found["box_logits"].shape[0]
    assert boxes == 48
    assert (found["box_deltas"].shape, found["mask_logits"].shape) == (
        (boxes, 4 * classes),
        (boxes, classes, 28, 28),
    )


def test_amp_evaluates_in_bfloat16_on_the_cpu(options, whole, mini):
    """Amp finds other scores than fp32, in bfloat16, and hands back float32."""
    with opened(trial("eval", options=options, precision="amp"), *mini) as work, eager():
        (found,) = work.detections(work.step(take(work, 1)[0]))
        assert work.settings()["half"] == "bfloat16"
    assert found.scores_N.dtype == np.float32
    assert len(found.scores_N) > 0
    assert not np.array_equal(found.scores_N, whole[found.image_id].scores_N)


def test_the_published_flavour_evaluates(mini):
    """NVIDIA's flavour has no threshold on scores: it fills its detections, inside the stored image."""
    with opened(trial("infer", options={"flavour": "nvidia"}), *mini) as work, eager():
        batch = take(work, 1)[0]
        (found,) = work.detections(work.step(batch))
    assert len(found.scores_N) == 20
    height, width = found.masks_NHW.shape[1:]
    assert (found.boxes_N4 <= np.array([width, height, width, height]) + 1).all()


def test_weights_are_those_of_the_file(options, singles):
    """The work has the file's weights to the bit."""
    from harness.weights import read_tensors

    given = read_tensors(Path(options["weights"]))
    for name, value in every(singles).items():
        np.testing.assert_array_equal(value, given[name])


def test_settings_say_what_runs(singles, options):
    """Device, flavour, canvas, threads and weights are named."""
    expected = {
        "device": "cpu",
        "flavour": "torchvision",
        "canvas": "64 x 128",
        "xla": "false",
        "threads": "1",
        "process_group": "none",
        "weights": options["weights"],
    }
    settings = singles.settings()
    assert {name: settings[name] for name in expected} == expected


def cycle_of(mini, batches, rank=0, **axes):
    """The first batches of a rank's cycle."""
    with opened(trial("infer", **axes), *mini, rank=rank) as work, contextlib.closing(work.batches()) as stream:
        return list(islice(stream, batches))


def test_inference_batches_are_full_and_never_end(mini):
    """Many more batches than the set holds come, each full, and no image falls behind."""
    batches = cycle_of(mini, 20, batch_size_per_gpu=3)
    assert {batch.images for batch in batches} == {3}
    seen = Counter(frame.image_id for batch in batches for frame in batch.payload.frames)
    assert set(seen) == set(open_dataset(mini[1]).image_ids)
    assert max(seen.values()) - min(seen.values()) <= 1


def test_ranks_cycle_over_their_own_shards(mini):
    """Two ranks never see the same image."""
    seen = [
        {frame.image_id for batch in cycle_of(mini, 20, rank, gpus=2) for frame in batch.payload.frames}
        for rank in (0, 1)
    ]
    assert (len(seen[0]), len(seen[1]), len(seen[0] & seen[1])) == (9, 8, 0)


def test_a_rank_without_images_is_declined():
    """Three ranks on two images end in one line instead of waiting for ever."""
    with (
        opened(trial("infer", gpus=3), val="synthetic:64x64:2", rank=2) as work,
        pytest.raises(UnsupportedTrialError, match="2 val images leave none for rank 2"),
    ):
        next(iter(work.batches()))


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [("fixed", {(64, 128)}), ("oriented", {(64, 128), (128, 64)}), ("own", None)],
)
def test_canvases(mini, canvas, expected):
    """One frame for all images, one for wide and one for tall ones, or each image's own, rounded up to 32."""
    options = {"canvas": canvas, "flavour": "torchvision"}
    with opened(trial("eval", options=options, batch_size_per_gpu=2), *mini) as work:
        batches = list(work.batches())
    found = {tuple(batch.payload.images_BHW3.shape[1:3]) for batch in batches}
    own = {tuple(-(-side // 32) * 32 for side in frame.size) for batch in batches for frame in batch.payload.frames}
    assert found == (expected or own)
    assert len(own) > 1


def test_the_published_canvas_is_turned_for_tall_images():
    """Without an option NVIDIA's flavour has 832 x 1344 and its turn, torchvision's each image's own."""
    canvases = {}
    for flavour in ("nvidia", "torchvision"):
        wanted = trial("eval", options={"flavour": flavour, "canvas": None}, image_size=None)
        with opened(wanted, val="synthetic:64x48:2") as work:
            canvases[flavour] = work.settings()["canvas"]
    assert canvases == {"nvidia": "832 x 1344 or 1344 x 832", "torchvision": "own, a multiple of 32"}
