"""Reading and writing Mask R-CNN's weights; the names are torchvision's."""

from pathlib import Path
from typing import Literal

from backends.tf_impl.maskrcnn.model import MaskRCNN
from backends.tf_impl.weights import load, save

Part = Literal["model", "trunk"]

_TRUNK = "backbone.body."


def load_weights(model: MaskRCNN, path: Path, *, part: Part = "model", strict: bool = True) -> int:
    """Read a file of either framework into the model and return how many tensors fitted.

    torchvision's own COCO weights were trained with a frozen norm without epsilon: set `norm_eps=0` for them.

    Args:
        model: whose variables.
        path: safetensors, or a state dict of `torch.save`.
        part: `model`, or `trunk`, for which a torchvision ResNet will do.
        strict: refuse names that are missing or left over, not only shapes that differ.

    Raises:
        ValueError: the file or its tensors do not fit; nothing has been assigned.
    """
    return load(model, path, "maskrcnn", trunk=_TRUNK if part == "trunk" else None, strict=strict)


def save_weights(model: MaskRCNN, path: Path) -> None:
    """Write the weights as they now are, as safetensors in TensorFlow's layout.

    Raises:
        WeightsError: the file cannot be written.
    """
    save(model, path, "maskrcnn")
