"""Inference for its speed: full batches without end."""

import contextlib
from collections import Counter
from itertools import islice

import pytest
from torch_runs import opened, trial

from harness.api import UnsupportedTrialError
from harness.data import open_dataset

pytestmark = pytest.mark.torch


def cycle_of(mini, batches, rank=0, **axes):
    """The first batches of a rank's cycle."""
    with opened(trial("infer", **axes), *mini, rank=rank) as work, contextlib.closing(work.batches()) as stream:
        return list(islice(stream, batches))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_are_full_and_never_end(mini, batch_size):
    """Many more batches than the set holds come, each full and of one canvas, and no image falls behind."""
    batches = cycle_of(mini, 60, batch_size_per_gpu=batch_size)
    assert {batch.images for batch in batches} == {batch_size}
    assert all(len(batch.payload.frames) == len(batch.payload.images_BHW3) == batch_size for batch in batches)
    seen = Counter(frame.image_id for batch in batches for frame in batch.payload.frames)
    assert set(seen) == set(open_dataset(mini[1]).image_ids)
    assert max(seen.values()) - min(seen.values()) <= batch_size


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
        work.batches()


def test_a_step_detects(mini):
    """A step's output counts its detections and their parts."""
    with opened(trial("infer", options={"flavour": "torchvision"}, batch_size_per_gpu=2), *mini) as work:
        with contextlib.closing(work.batches()) as stream:
            found = work.read(work.step(next(stream)))
        work.synchronize()
        work.barrier()
    assert list(found) == ["detections", "boxes", "scores", "labels", "masks"]
    assert found["detections"] > 0
