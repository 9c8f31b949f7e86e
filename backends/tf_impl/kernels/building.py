"""The binding: TensorFlow operations around a target's native kernels, compiled at first use and kept.

The C++ in `native/` makes two shared objects: the operations with their CPU kernels, and GPU kernels for the same
operations. Both are bound to TensorFlow's version and to one library of kernels.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from harness.kernels import KernelError, Library, Recipe, build, load, recipe, source_root

Device = Literal["cpu", "cuda"]

FOLDER = Path(__file__).parent / "native"
_SOURCES = {"cpu": ("operations.cc", "kernels.cc"), "cuda": ("kernels.cc",)}


@cache
def operations() -> Any:
    """The operations, with kernels for the CPU: a module of one function an operation, loaded once a process.

    Raises:
        KernelError: they cannot be built or loaded; the message is one line.
    """
    path = build(binding_recipe(load("cpu"))).path
    try:
        return tf.load_op_library(str(path))
    except (tf.errors.OpError, RuntimeError, OSError) as error:
        raise KernelError(f"{path} cannot be loaded: {_first_line(error)}") from error


@cache
def gpu_kernels() -> None:
    """Add GPU kernels to the operations, once a process.

    Raises:
        KernelError: they cannot be built or loaded; the message is one line.
    """
    operations()
    path = build(binding_recipe(load("cuda"))).path
    try:
        tf.load_library(str(path))
    except (tf.errors.OpError, RuntimeError, OSError) as error:
        raise KernelError(f"{path} cannot be loaded: {_first_line(error)}") from error


def binding_recipe(library: Library) -> Recipe:
    """How the shared object around a library of kernels is built.

    Raises:
        KernelError: there is no C++ compiler.
    """
    target, path = library.target, library.built.path
    include, *flags = sorted(tf.sysconfig.get_compile_flags(), key=lambda flag: not flag.startswith("-I"))
    return Recipe(
        name=f"tf_binding_{target}",
        compiler=recipe("cpu").compiler,
        sources=tuple(FOLDER / name for name in _SOURCES[target]),
        flags=(
            *("-O1", "-fPIC", "-fvisibility=hidden", f"-DKERNEL_TARGET_{target.upper()}"),
            *(f"-isystem{include.removeprefix('-I')}", f"-I{source_root() / 'include'}", *flags),
        ),
        link=(
            *("-shared", "-Wl,--no-undefined", *tf.sysconfig.get_link_flags()),
            *(f"-L{path.parent}", f"-l:{path.name}", f"-Wl,-rpath,{path.parent}"),
        ),
        depends=(tf.version.VERSION, tf.version.GIT_VERSION, tf.version.COMPILER_VERSION, _digest()),
    )


def _digest() -> str:
    """Of the binding's own text."""
    state = hashlib.sha256()
    for path in sorted((*FOLDER.glob("*.cc"), *FOLDER.glob("*.h"))):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip()
