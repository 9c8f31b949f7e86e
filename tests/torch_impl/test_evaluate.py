"""Evaluation: the same detections however images are batched and sharded, in the stored images' own frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch_runs import confident, everything, opened, plain_convolutions, take, trial

from backends.torch_impl.maskrcnn.evaluate import InferenceOutput
from backends.torch_impl.maskrcnn.targets import Prediction
from harness.data import Frame, open_dataset

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def _plain():
    """Convolutions that round alike at every batch size, so that detections can be compared to the bit."""
    with plain_convolutions():
        yield


@pytest.fixture(scope="module", params=["nvidia", "torchvision"])
def options(request, mini, tmp_path_factory):
    """Options of a flavour with random weights that detect something."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with opened(trial("eval", options={"flavour": request.param}), *mini) as work:
        confident(work._session.model, 10.0)
        save_file({name: value.contiguous() for name, value in work._session.model.state_dict().items()}, path)
    return {"flavour": request.param, "weights": str(path)}


@pytest.fixture(scope="module")
def whole(options, mini):
    """All detections, found one image at a time on one rank."""
    with opened(trial("eval", options=options), *mini) as work:
        return everything(work)


def assert_equal(found, expected):
    """Hold two passes to the same bits."""
    assert found.keys() == expected.keys()
    for image_id, detections in found.items():
        for name in ("boxes_N4", "scores_N", "labels_N", "masks_NHW"):
            np.testing.assert_array_equal(getattr(detections, name), getattr(expected[image_id], name))


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
        assert (found.boxes_N4 >= 0).all()
        assert (found.boxes_N4[:, 2] <= sizes[image_id].width + 1).all()  # inclusive corners, stretched down


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batch_sizes_do_not_change_detections(options, whole, mini, batch_size):
    """Batches of two and three give the detections of single images, to the bit."""
    with opened(trial("eval", options=options, batch_size_per_gpu=batch_size), *mini) as work:
        sizes = [batch.images for batch in work.batches()]
        assert (sum(sizes), max(sizes)) == (17, batch_size)
        assert_equal(everything(work), whole)


@pytest.mark.parametrize("world_size", [2, 3])
def test_shards_do_not_change_detections(options, whole, mini, world_size):
    """The shards of two and three ranks are disjoint, and together the whole, to the bit; 17 images do not divide."""
    shards = []
    for rank in range(world_size):
        with opened(trial("eval", options=options, gpus=world_size, batch_size_per_gpu=2), *mini, rank=rank) as work:
            shards.append(everything(work))
    assert sum(map(len, shards)) == 17
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert_equal({image_id: found for shard in shards for image_id, found in shard.items()}, whole)


def test_a_pass_can_be_left_and_begun_again(options, whole, mini):
    """An abandoned pass leaves nothing behind: the next one sees every image."""
    with opened(trial("eval", options=options, batch_size_per_gpu=4), *mini) as work:
        take(work, 2)
        assert_equal(everything(work), whole)


def test_batches_share_a_canvas(options, mini):
    """A batch holds images of one canvas only: each its own resized size, rounded up to 32."""
    with opened(trial("eval", options=options, batch_size_per_gpu=4), *mini) as work:
        canvases = set()
        for batch in work.batches():
            canvas = tuple(batch.payload.images_BHW3.shape[1:3])
            assert {tuple(-(-side // 32) * 32 for side in frame.size) for frame in batch.payload.frames} == {canvas}
            canvases.add(canvas)
    assert len(canvases) > 1


@pytest.mark.parametrize(("flavour", "box"), [("nvidia", [20, 8, 41, 33]), ("torchvision", [20, 8, 40, 32])])
def test_detections_stand_in_the_stored_image(mini, flavour, box):
    """A box is stretched by each side's own ratio; the inclusive flavour's far corners then become edges, one more."""
    prediction = Prediction(
        torch.tensor([[10.0, 2.0, 20.0, 8.0]]), torch.tensor([0.7]), torch.tensor([2]), torch.ones(1, 28, 28)
    )
    with opened(trial("eval", options={"flavour": flavour}), *mini) as work:
        (found,) = work.detections(InferenceOutput([prediction], (Frame(5, (40, 50), (10, 25)),)))
    second = sorted(open_dataset(mini[1]).category_ids)[1]
    assert (found.image_id, found.labels_N.tolist(), found.boxes_N4.tolist()) == (5, [second], [box])
    rows, columns = (found.masks_NHW[0].any(axis=axis).nonzero()[0] for axis in (1, 0))
    assert found.masks_NHW.shape == (1, 40, 50)
    np.testing.assert_allclose([columns[0], rows[0], columns[-1], rows[-1]], [20, 8, 40, 32], atol=1)


def test_onednn_changes_no_detection_by_more_than_its_rounding(options, mini, monkeypatch):
    """With oneDNN's kernels, which differ by batch size, single images and batches of three agree to rounding."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", True)
    runs = []
    for batch_size in (1, 3):
        with opened(trial("eval", options=options, batch_size_per_gpu=batch_size), *mini) as work:
            runs.append(everything(work))
    for image_id, found in runs[0].items():
        other = runs[1][image_id]
        np.testing.assert_allclose(found.boxes_N4, other.boxes_N4, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.scores_N, other.scores_N, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(found.labels_N, other.labels_N)


def test_reading_depends_on_every_output(mini):
    """A change in any box, score, label or mask changes what is read, and so does a missing detection."""
    plain = Prediction(torch.ones(2, 4), torch.ones(2), torch.ones(2, dtype=torch.int64), torch.ones(2, 28, 28))
    changed = [
        replace(plain, boxes_N4=plain.boxes_N4 * 2),
        replace(plain, scores_N=plain.scores_N * 2),
        replace(plain, labels_N=plain.labels_N * 2),
        replace(plain, masks_NSS=plain.masks_NSS * 2),
        Prediction(plain.boxes_N4[:1], plain.scores_N[:1], plain.labels_N[:1], plain.masks_NSS[:1]),
    ]
    with opened(trial("eval"), *mini) as work:
        values = [work.read(InferenceOutput([prediction, plain], ())) for prediction in (plain, *changed)]
    assert values[0] == {"detections": 4, "boxes": 16, "scores": 4, "labels": 4, "masks": 4 * 784}
    assert all(value != values[0] for value in values[1:])


def test_outputs_need_no_gradients(options, mini):
    """Inference runs without autograd, in eval mode."""
    with opened(trial("eval", options=options), *mini) as work:
        output = work.step(take(work, 1)[0])
        assert not work._session.model.training
    assert output.predictions[0].scores_N.is_inference()


def test_amp_evaluates_in_bfloat16_on_the_cpu(options, whole, mini):
    """Amp finds other scores than fp32, in bfloat16."""
    with opened(trial("eval", options=options, precision="amp"), *mini) as work:
        (found,) = work.detections(work.step(take(work, 1)[0]))
        assert work.settings()["half"] == "bfloat16"
    assert len(found.scores_N) > 0
    assert not np.array_equal(found.scores_N, whole[found.image_id].scores_N)


def test_settings_say_what_runs(options, mini):
    """Device, flavour, memory format, threads and weights are named."""
    with opened(trial("eval", options={**options, "channels_last": False}), *mini) as work:
        settings = work.settings()
    expected = {"device": "cpu", "flavour": options["flavour"], "memory_format": "contiguous", "half": "none"}
    assert {key: settings[key] for key in expected} == expected
    assert settings["weights"] == options["weights"]
    assert settings["threads"] == str(torch.get_num_threads())
