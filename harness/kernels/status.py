"""Which libraries are built, and building them ahead of their first use."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.errors import KernelError
from harness.kernels.building import TIMEOUT_S, build, place_of
from harness.kernels.recipes import recipe

Device = Literal["cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class State:
    """What there is of one library."""

    name: str
    ready: bool
    words: str
    """Where it is, or why it is not there; one line."""


def state_of(device: Device) -> State:
    """Look for a device's library; nothing is built."""
    name = f"kernels for {device}"
    try:
        made = recipe(device)
    except KernelError as error:
        return State(name, ready=False, words=f"not built: {error}")
    place = place_of(made)
    if place.exists():
        return State(name, ready=True, words=f"built: {place}")
    return State(
        name,
        ready=False,
        words=f"not built: the first trial that wants it does, or harness doctor --build ({made.compiler.path})",
    )


def built(device: Device) -> State:
    """Build a device's library where it is not there."""
    name = f"kernels for {device}"
    try:
        made = build(recipe(device))
    except KernelError as error:
        return State(name, ready=False, words=f"not built: {error}")
    took = f" in {made.seconds:.0f} s" if made.seconds else ""
    return State(name, ready=True, words=f"built{took}: {made.path}")


def bound(builder: str, devices: Iterable[Device]) -> list[State]:
    """Have a backend build what binds its framework to the libraries, in a process of its own.

    Args:
        builder: the module that does, as `python -m MODULE DEVICE`; it prints the path, or one line and fails.
        devices: whose libraries are there.
    """
    return [_bound(builder, device) for device in devices]


def _bound(builder: str, device: Device) -> State:
    name = f"{builder} for {device}"
    command = [sys.executable, "-m", builder, device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return State(name, ready=False, words=f"not built: {' '.join(command)} took more than {TIMEOUT_S} s")
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["it says nothing"]
    if done.returncode:
        return State(name, ready=False, words=f"not built: {lines[-1]}")
    return State(name, ready=True, words=f"built: {lines[-1]}")
