"""Compiling functions of tensors: by `tf.function`, with XLA or without, once for each set of shapes."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

_EAGER = ContextVar("eager", default=False)


class Compiled:
    """A function of nested tensors that is traced, and compiled by XLA if so asked, once for each set of shapes."""

    def __init__(self, function: Callable[..., Any], *, xla: bool) -> None:
        self.xla = xla
        self._body = function
        self._function = tf.function(function, jit_compile=xla, autograph=False)
        self._seen: set[Hashable] = set()

    def __call__(self, *inputs: Any) -> Any:
        """Call it, after compiling where these shapes are new."""
        outputs = (self._body if _EAGER.get() else self._function)(*inputs)
        self._seen.add(signature(inputs))
        return outputs

    def compiles(self, *inputs: Any) -> bool:
        """Whether a call with these shapes would compile first."""
        return signature(inputs) not in self._seen

    def concrete(self, *inputs: Any) -> Any:
        """The `ConcreteFunction` that a call with these shapes runs."""
        return self._function.get_concrete_function(*inputs)


def compiled(function: Callable[..., Any], xla: bool) -> Compiled:
    """Compile a function whose arguments and results are nested tensors of static shapes, in plain TensorFlow.

    Args:
        function: is called with symbolic tensors; Python runs once for each set of shapes. It creates no variable.
        xla: compile it as one XLA cluster. Nothing in it may then wait for other ranks, nor have a dynamic shape.
    """
    return Compiled(function, xla=xla)


def signature(inputs: Any) -> Hashable:
    """The shapes and types of nested tensors or arrays."""
    leaves = tf.nest.flatten(inputs)
    return tuple((tuple(leaf.shape), tf.as_dtype(leaf.dtype).name) for leaf in leaves)


@contextmanager
def eager() -> Iterator[None]:
    """Run every compiled function operation by operation, as a reference for what compiling may change.

    TensorFlow's own switch is none for this: it is global to the process, and tf.data warns of it.
    """
    token = _EAGER.set(True)
    try:
        yield
    finally:
        _EAGER.reset(token)
