"""A target's library, loaded into this process."""

import ctypes
from functools import cache
from typing import Any

from harness.errors import KernelError
from harness.kernels.building import Built, build
from harness.kernels.prototypes import prototypes
from harness.kernels.recipes import Target, recipe
from harness.kernels.toolchain import cuda_architectures, cuda_compiler, host_compiler


class Library:
    """The kernels of one target. Pointers are passed as addresses (int or None)."""

    def __init__(self, target: Target, built: Built) -> None:
        self.target, self.built = target, built
        try:
            self._library = ctypes.CDLL(str(built.path))
        except OSError as error:
            raise KernelError(f"{built.path} cannot be loaded: {error}") from error
        self._known: dict[str, Any] = {}

    def _function(self, name: str) -> Any:
        if name not in self._known:
            prototype = prototypes()[name]
            function = self.exported(f"{self.target}_{name}")
            function.restype = prototype.result
            function.argtypes = [kind for _, kind in prototype.arguments]
            self._known[name] = function
        return self._known[name]

    def run(self, name: str, *arguments: Any) -> None:
        """Call an operation; other threads run meanwhile.

        Raises:
            KernelError: it returns an error.
        """
        code = self._function(name)(*arguments)
        if code:
            words = self._function("message")(code).decode(errors="replace")
            raise KernelError(f"kernel {name} on {self.target} failed with code {code}: {words}")

    def size(self, name: str, *arguments: Any) -> int:
        """Bytes of an operation's workspace."""
        return int(self._function(f"{name}_workspace")(*arguments))

    def set_threads(self, threads: int) -> None:
        """How many threads CPU bodies use, 1 or more."""
        self.run("set_threads", threads)

    def exported(self, name: str) -> Any:
        """A function by its full name, such as emulated_set_order.

        Raises:
            KernelError: the library has none of that name.
        """
        try:
            return getattr(self._library, name)
        except AttributeError as error:
            raise KernelError(f"{self.built.path} has no function {name}") from error


@cache
def load(target: Target) -> Library:
    """The library of a target, built at first use.

    Raises:
        KernelError: it cannot be built or loaded; the message is one line.
    """
    return Library(target, build(recipe(target)))


def forget() -> None:
    """Look for compilers and libraries anew, for one, after the environment has changed; loaded ones stay usable."""
    for known in (load, host_compiler, cuda_compiler, cuda_architectures):
        known.cache_clear()
