"""The native kernels: found, built once, loaded. C and CUDA stand in kernels/ of the repository; no framework is known.

A backend asks `load` for a target's library and falls back to its framework's own operations where that raises.
Names are loaded when they are first used, so that importing this room costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import KernelError
    from harness.kernels.building import Built, Recipe, build
    from harness.kernels.choice import Choice, choose
    from harness.kernels.library import Library, forget, load
    from harness.kernels.recipes import recipe
    from harness.kernels.sources import source_root

_MODULES = {
    "harness.errors": ("KernelError",),
    "harness.kernels.building": ("Built", "Recipe", "build"),
    "harness.kernels.choice": ("Choice", "choose"),
    "harness.kernels.library": ("Library", "forget", "load"),
    "harness.kernels.recipes": ("recipe",),
    "harness.kernels.sources": ("source_root",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Built",
    "Choice",
    "KernelError",
    "Library",
    "Recipe",
    "build",
    "choose",
    "forget",
    "load",
    "recipe",
    "source_root",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
