"""Whether what a hook returned is a work at all; a missing method is better known before the first step."""

from collections.abc import Iterable

from harness.errors import HookMismatchError
from harness.schema.trial import Phase, Trial

COMMON = ("batches", "compiles", "step", "synchronize", "device_clock", "barrier", "read", "settings", "close")
INFERENCE = (*COMMON, "detections")
METHODS: dict[Phase, tuple[str, ...]] = {"train": COMMON, "eval": INFERENCE, "infer": COMMON}
"""What the host calls in every trial of a phase (harness/hookspecs.py)."""


def require_work(trial: Trial, work: object) -> None:
    """Check that a work has the methods that this trial will call; those of its last minute too.

    Raises:
        HookMismatchError: one is missing.
    """
    asked: dict[str, object] = {
        "evaluation": trial.phase == "train" and (trial.evaluate or trial.evaluate_every_steps or trial.target),
        "save": trial.phase == "train" and trial.save_weights,
        "probe": trial.phase == "eval" and trial.probe,
    }
    wanted = (*METHODS[trial.phase], *(name for name, called in asked.items() if called))
    require(trial.backend, f"harness_{trial.phase}", work, wanted)


def require_evaluation(backend: str, work: object) -> None:
    """Check the work of an evaluation in the midst of training.

    Raises:
        HookMismatchError: a method is missing.
    """
    require(backend, "evaluation()", work, INFERENCE)


def require(backend: str, source: str, work: object, wanted: Iterable[str]) -> None:
    """Check that what came from somewhere in a backend has these methods.

    Raises:
        HookMismatchError: one is missing.
    """
    missing = [name for name in wanted if not callable(getattr(work, name, None))]
    if missing:
        lacks = ", ".join(f"{name}()" for name in missing)
        raise HookMismatchError(
            f"backend {backend!r}: {source} returned {type(work).__name__}, which lacks {lacks} of the work"
        )
