"""Generated sets that the torch backend's tests share."""

import pytest
import torch

from harness.data import CocoMini, generate


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Results equal to the bit need one thread: several split a sum by its shape, and so by the batch size."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """Paths of a coco-mini train set (32 images of 64 px) and val set (17), with gray, CMYK, empty and crowded ones."""
    folder = tmp_path_factory.mktemp("coco-mini")
    for split, images in (("train", 32), ("val", 17)):
        generate(folder / split, CocoMini(images=images, size=64, split=split))
    return str(folder / "train"), str(folder / "val")
