"""Weights on the disk: tensors by name, read without running anything, and the layouts that frameworks give them.

Names are loaded when they are first used, so that importing this room imports neither numpy nor a reader of files.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import WeightsError
    from harness.weights.conversion import Conversion, convert
    from harness.weights.files import read_tensors, write_tensors
    from harness.weights.fitting import Fit, fit
    from harness.weights.inspection import inspect
    from harness.weights.layouts import Layout, to_layout
    from harness.weights.loading import load_for
    from harness.weights.names import Model, Part
    from harness.weights.tensors import Tensors

_MODULES = {
    "harness.errors": ("WeightsError",),
    "harness.weights.conversion": ("Conversion", "convert"),
    "harness.weights.files": ("read_tensors", "write_tensors"),
    "harness.weights.fitting": ("Fit", "fit"),
    "harness.weights.inspection": ("inspect",),
    "harness.weights.layouts": ("Layout", "to_layout"),
    "harness.weights.loading": ("load_for",),
    "harness.weights.names": ("Model", "Part"),
    "harness.weights.tensors": ("Tensors",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Conversion",
    "Fit",
    "Layout",
    "Model",
    "Part",
    "Tensors",
    "WeightsError",
    "convert",
    "fit",
    "inspect",
    "load_for",
    "read_tensors",
    "to_layout",
    "write_tensors",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
