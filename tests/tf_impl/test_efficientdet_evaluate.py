"""Evaluation and inference: the same detections however images are batched, sharded or compiled."""

import numpy as np
import pytest
import tensorflow as tf
from efficientdet_runs import confident, everything, opened, take, trial, variables

from backends.tf_impl.efficientdet.evaluate import Inference
from backends.tf_impl.efficientdet.weights import save_weights
from backends.tf_impl.work import InferenceOutput
from harness.api import UnsupportedTrialError
from harness.data import open_dataset

pytestmark = pytest.mark.tf
OUTPUTS = (*Inference.outputs, "count")


@pytest.fixture(scope="module")
def options(mini, tmp_path_factory):
    """Options with random weights that detect something."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with opened(trial("eval"), *mini) as work:
        confident(work._session.model)
        save_weights(work._session.model, path)
    return {"weights": str(path)}


@pytest.fixture(scope="module")
def single(options, mini):
    """Everything about a work with batches of one image: detections, what its outputs read as, a probe."""
    with opened(trial("eval", options=options), *mini) as work:
        batches = take(work, 2)
        output = work.step(batches[0])
        return {
            "detections": everything(work),
            "output": output,
            "read": work.read(output),
            "read_of": work.read,
            "probe": work.probe(batches[0]),
            "compiles": [work.compiles(batch) for batch in batches],
            "graph": work._detector.predict.concrete(batches[0].payload.images_BHW3, batches[0].payload.sizes_B2),
        }


def assert_close(found, expected, scores=1e-5, boxes=0.02):
    """Hold two passes to each other: rounding differs with the kernel that suits a batch."""
    assert found.keys() == expected.keys()
    for image_id, wanted in expected.items():
        detections = found[image_id]
        np.testing.assert_allclose(detections.scores_N, wanted.scores_N, atol=scores)
        np.testing.assert_array_equal(detections.labels_N, wanted.labels_N)
        np.testing.assert_allclose(detections.boxes_N4, wanted.boxes_N4, atol=boxes)


def test_every_image_is_seen_once_and_something_is_found(single, mini):
    """All images of the set come back once each, with boxes inside them and category ids of the set."""
    dataset, whole = open_dataset(mini[1]), single["detections"]
    assert sorted(whole) == sorted(dataset.image_ids)
    sizes = {dataset.image(index).id: dataset.image(index) for index in range(len(dataset))}
    assert sum(len(found.scores_N) for found in whole.values()) > 50
    for image_id, found in whole.items():
        assert set(found.labels_N.tolist()) <= set(dataset.category_ids)
        assert (found.boxes_N4.dtype, found.scores_N.dtype, found.masks_NHW) == (np.float32, np.float32, None)
        limits = (sizes[image_id].width, sizes[image_id].height) * 2
        assert (found.boxes_N4 >= 0).all()
        assert (found.boxes_N4 <= np.array(limits) + 1e-3).all()
        assert (np.diff(found.scores_N) <= 0).all()


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batch_sizes_do_not_change_detections(options, single, mini, batch_size):
    """Batches of two and three, the last one filled up with black, give the detections of single images."""
    with opened(trial("eval", options=options, batch_size_per_gpu=batch_size), *mini) as work:
        batches = list(work.batches())
        assert (sum(batch.images for batch in batches), batches[0].images) == (17, batch_size)
        assert {batch.payload.images_BHW3.shape[0] for batch in batches} == {batch_size}
        assert_close(everything(work), single["detections"])


def test_shards_are_disjoint_and_cover_the_set(options, mini):
    """The images of three ranks' shards are the set's, each once."""
    seen = []
    for rank in range(3):
        with opened(trial("eval", options=options, gpus=3, batch_size_per_gpu=2), *mini, rank=rank) as work:
            seen += [frame.image_id for batch in work.batches() for frame in batch.payload.frames]
    assert sorted(seen) == sorted(open_dataset(mini[1]).image_ids)


@pytest.mark.slow
def test_inference_by_xla_finds_what_the_graph_finds(options, single, mini):
    """Compiled by XLA, single images give the graph's detections; XLA is a setting that is reported."""
    with opened(trial("infer", options=options, xla=True), *mini) as work:
        batches = take(work, 18)
        assert work.compiles(batches[0])
        found = [work.detections(work.step(batch))[0] for batch in batches[:17]]
        assert not work.compiles(batches[17])
        assert batches[17].payload.frames == batches[0].payload.frames
        assert work.settings()["xla"] == "true"
    assert_close({each.image_id: each for each in found}, single["detections"], scores=1e-4, boxes=0.1)


def test_inference_by_amp_runs_in_bfloat16(options, single, mini):
    """Amp finds nearly the same best score in each image, and not the same bits."""
    with opened(trial("infer", options=options, precision="amp"), *mini) as work:
        (found,) = work.detections(work.step(take(work, 1)[0]))
        assert work.settings()["half"] == "bfloat16"
    wanted = single["detections"][found.image_id]
    assert found.scores_N[0] == pytest.approx(wanted.scores_N[0], rel=0.2)
    assert found.scores_N[0] != wanted.scores_N[0]


def test_every_output_is_consumed(single):
    """The graph returns all four outputs, and what is read depends on each, so that nothing can be pruned."""
    output = single["output"]
    assert set(single["graph"].structured_outputs) == set(OUTPUTS)
    assert single["read"]["detections"] > 0
    for name in OUTPUTS:
        changed = {**output.found, name: output.found[name] + tf.ones_like(output.found[name])}
        assert single["read_of"](InferenceOutput(changed, output.frames)) != single["read"]


def test_a_shape_compiles_once(single):
    """After one batch of a shape, another of that shape compiles no more."""
    assert single["compiles"] == [False, False]


def test_the_probe_has_every_level_in_channels_first_order(single, mini):
    """Taps, pyramid and outputs come as float32 [B, C, H, W] with the channels of anchors × classes."""
    probe = single["probe"]
    classes = len(open_dataset(mini[1]).category_ids)
    names = [f"C{level}" for level in range(3, 6)] + [f"P{level}" for level in range(3, 8)]
    names += [f"{kind}_{level}" for kind in ("class_logits", "box_deltas") for level in range(3, 8)]
    assert sorted(probe) == sorted(names)
    for level in range(3, 8):
        side = 128 // 2**level
        assert probe[f"P{level}"].shape == (1, 16, side, side)
        assert probe[f"class_logits_{level}"].shape == (1, 9 * classes, side, side)
        assert probe[f"box_deltas_{level}"].shape == (1, 36, side, side)
    assert all(values.dtype == np.float32 for values in probe.values())


def test_weights_that_do_not_fit_are_named(mini, options):
    """Weights of another width end in one line that names the file."""
    with (
        pytest.raises(ValueError, match=r"weights\.safetensors"),
        opened(trial("eval", options=options), *mini, width=1.0),
    ):
        pass


def test_a_rank_without_images_has_nothing_to_infer(mini):
    """Without end, a rank whose shard is empty is declined in one line."""
    with opened(trial("infer", gpus=18), *mini, rank=17) as work:
        with pytest.raises(UnsupportedTrialError, match="17 val images leave none for rank 17"):
            next(work.batches())
        assert variables(work)
