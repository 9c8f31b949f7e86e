"""Whether what a hook returned is a work at all; a missing method is better known before the first step."""

from harness.errors import HookMismatchError
from harness.schema.trial import Phase

COMMON = ("batches", "compiles", "step", "synchronize", "device_clock", "barrier", "settings", "close")
METHODS: dict[Phase, tuple[str, ...]] = {
    "train": (*COMMON, "read"),
    "eval": (*COMMON, "detections"),
    "infer": COMMON,
}
"""What the host calls in every trial of a phase (harness/hookspecs.py)."""


def require_work(backend: str, phase: Phase, work: object) -> None:
    """Check the methods of a work.

    Raises:
        HookMismatchError: one that the phase calls is missing.
    """
    missing = [name for name in METHODS[phase] if not callable(getattr(work, name, None))]
    if missing:
        has = ", ".join(f"{name}()" for name in missing)
        raise HookMismatchError(
            f"backend {backend!r}: harness_{phase} returned {type(work).__name__}, which lacks {has} of the work"
        )
