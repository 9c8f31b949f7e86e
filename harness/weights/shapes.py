"""Shapes of tensors by name, in PyTorch's layout."""

from collections.abc import Mapping

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def norm(name: str, width: int) -> Shapes:
    """The four vectors of a batch normalisation."""
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def layer(name: str, shape: Shape) -> Shapes:
    """A kernel or matrix whose outputs come first, and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}


def outputs(given: Mapping[str, Shape], names: tuple[str, ...], default: int) -> int:
    """The outputs of the first of these layers that is given."""
    return next((given[name][0] for name in names if given.get(name)), default)
