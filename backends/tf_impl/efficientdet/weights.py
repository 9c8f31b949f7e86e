"""Reading and writing EfficientDet's weights; the names are effdet's."""

from pathlib import Path
from typing import Literal

from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.weights import load, save

Part = Literal["model", "backbone"]

_BACKBONE = "backbone."


def load_weights(model: EfficientDet, path: Path, *, part: Part = "model", strict: bool = True) -> int:
    """Read a file of either framework into the model and return how many tensors fitted.

    Args:
        model: whose variables.
        path: safetensors, or a state dict of `torch.save`.
        part: `model`, or `backbone`, for which an EfficientNet of timm or of `efficientnet-pytorch` will do.
        strict: refuse names that are missing or left over, not only shapes that differ.

    Raises:
        ValueError: the file or its tensors do not fit; nothing has been assigned.
    """
    return load(model, path, "efficientdet", trunk=_BACKBONE if part == "backbone" else None, strict=strict)


def save_weights(model: EfficientDet, path: Path) -> None:
    """Write the weights as they now are, as safetensors in TensorFlow's layout.

    Raises:
        WeightsError: the file cannot be written.
    """
    save(model, path, "efficientdet")
