"""Reading weights by name: state dicts in torchvision's layout, as `.safetensors` or as `.pth`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Part = Literal["model", "trunk"]

_TRUNK = "backbone.body."
_SHOWN = 3


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict; of a checkpoint that wraps one, the entry `model` or `state_dict`.

    `.pth` files are read with torch's weights-only loader, so that a file cannot run code.

    Raises:
        ValueError: the file holds no mapping of names to tensors.
    """
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the loader raises many kinds for a file that is not its own
        found = str(error).partition("\n")[0]
        msg = f"{path} cannot be read as tensors: {found}; a state dict saved by torch.save is needed"
        raise ValueError(msg) from error
    for name in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        msg = f"{path} holds no state dict; a mapping of names to tensors is needed"
        raise ValueError(msg)
    return loaded


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
    counters = {name for name in given.keys() | wanted.keys() if name.endswith("num_batches_tracked")}
    missing, spare = wanted.keys() - given.keys() - counters, given.keys() - wanted.keys() - counters
    fitting = wanted.keys() & given.keys()
    shapes = {
        f"{name} {tuple(given[name].shape)} for {tuple(wanted[name].shape)}"
        for name in fitting
        if given[name].shape != wanted[name].shape
    }
    if shapes or (strict and (missing or spare)):
        parts = [f"{len(fitting) - len(shapes)} of {len(wanted)} tensors fit"]
        parts += [_some("missing", missing), _some("left over", spare), _some("of another shape", shapes)]
        raise ValueError("; ".join(part for part in parts if part))
    model.load_state_dict({name: given[name] for name in fitting}, strict=False)
    return len(fitting)


def load_weights(model: nn.Module, path: Path, *, part: Part = "model", strict: bool = True) -> int:
    """Read a file and copy its tensors into the model, see `read_state` and `load_state`; how many fitted.

    torchvision's own COCO weights were trained with a frozen norm without epsilon: set `norm_eps=0` for them.

    Raises:
        ValueError: the file or its tensors do not fit.
    """
    try:
        return load_state(model, read_state(path), part=part, strict=strict)
    except ValueError as error:
        msg = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(msg) from error


def _renamed(state: Mapping[str, Tensor], part: Part) -> dict[str, Tensor]:
    names = {name: name.removeprefix("module.") for name in state}
    if part == "model":
        return {new: state[old] for old, new in names.items()}
    return {_TRUNK + new: state[old] for old, new in names.items() if not new.startswith("fc.")}


def _some(what: str, names: set[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{len(names)} {what}: {shown}" + (", …" if len(names) > _SHOWN else "")
