"""What a trial's options make of the model and of this process."""

import pytest
import torch
from torch_runs import opened, trial

from backends.torch_impl.maskrcnn.options import options_of
from backends.torch_impl.maskrcnn.session import config_of

pytestmark = pytest.mark.torch


def test_the_threads_of_a_rank_are_set_and_recorded():
    """With `cpu_threads` one rank computes with so many threads; what really runs is in its settings."""
    before = torch.get_num_threads()
    try:
        with opened(trial("infer", {"cpu_threads": 1}), val="synthetic:64x48:2") as work:
            assert torch.get_num_threads() == 1
            assert work.settings()["threads"] == "1"
    finally:
        torch.set_num_threads(before)


def test_the_rois_of_an_image_are_an_option():
    """`rois_per_image` changes what the heads are trained on; null leaves the published 512."""
    published, fewer = (
        config_of(wanted, options_of(wanted), 6) for wanted in (trial(), trial(options={"rois_per_image": 64}))
    )
    assert (published.roi_samples, fewer.roi_samples) == (512, 64)
