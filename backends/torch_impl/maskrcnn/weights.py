"""Weights by name: files that either framework wrote into the model, and the model into a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from harness.weights import WeightsError, fit, load_for, write_tensors

Part = Literal["model", "trunk"]

_TRUNK = "backbone.body."
_COUNTER = "num_batches_tracked"


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, part: Part = "model", strict: bool = True) -> int:
    """Copy tensors into the model by name and return how many fitted.

    Args:
        model: of `MaskRCNN`.
        state: tensors by name; `module.` before a name is dropped.
        part: `model`, or `trunk` for the state dict of a torchvision ResNet, whose classifier is left out.
        strict: refuse names that are missing or left over, not only shapes that differ.

    Raises:
        ValueError: the names or shapes do not fit; nothing has been loaded.
    """
    given = _renamed(state, part)
    wanted = {name: value for name, value in model.state_dict().items() if part == "model" or name.startswith(_TRUNK)}
    found = fit(_shapes(wanted), _shapes(given))
    if found.reshaped or (strict and not found.exact):
        raise ValueError(found.line())
    model.load_state_dict({name: given[name] for name in found.fits}, strict=False)
    return len(found.fits)


def load_weights(model: nn.Module, path: Path, *, part: Part = "model", strict: bool = True) -> int:
    """Read a file of either framework and copy its tensors into the model, see `load_state`; how many fitted.

    torchvision's own COCO weights were trained with a frozen norm without epsilon: set `norm_eps=0` for them.

    Raises:
        ValueError: the file or its tensors do not fit.
    """
    try:
        tensors = load_for(path, layout="torch", model="maskrcnn", part=part)
        state = {name: torch.from_numpy(array) for name, array in tensors.items()}
        return load_state(model, state, part=part, strict=strict)
    except (WeightsError, ValueError) as error:
        msg = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(msg) from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as they now are, as safetensors in PyTorch's layout with torchvision's names.

    Raises:
        WeightsError: the file cannot be written.
    """
    state = {name: value for name, value in model.state_dict().items() if not name.endswith(_COUNTER)}
    tensors = {name: value.detach().cpu().contiguous().numpy() for name, value in state.items()}
    write_tensors(path, tensors, {"layout": "torch", "model": "maskrcnn"})


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Counters of batches are no weights: what they count is over."""
    return {name: tuple(value.shape) for name, value in tensors.items() if not name.endswith(_COUNTER)}


def _renamed(state: Mapping[str, Tensor], part: Part) -> dict[str, Tensor]:
    names = {name: name.removeprefix("module.") for name in state}
    if part == "model":
        return {new: state[old] for old, new in names.items()}
    return {_TRUNK + new.removeprefix(_TRUNK): state[old] for old, new in names.items() if not new.startswith("fc.")}
