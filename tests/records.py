"""Records that tests of several rooms start from."""

from datetime import UTC, datetime
from typing import Any

from made_results import MACHINE

from harness.schema.measurement import Window
from harness.schema.result import Outcome, TrialResult
from harness.schema.trial import Trial


def demo_trial(**changes: Any) -> Trial:
    """A short trial of the demo backend."""
    fields = {"backend": "demo", "phase": "infer", "warmup_steps": 1, "timed_steps": 3, "timeout_s": 30.0}
    return Trial.model_validate(fields | changes)


def result_of(trial: Trial, **changes: Any) -> TrialResult:
    """A result of it that went well."""
    fields: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "trial": trial,
        "matrix_name": "test",
        "outcome": Outcome(kind="ok"),
        "windows": (Window(rank=0, images=6, steps=3, elapsed_s=2.0, warmup_steps=1, warmup_s=0.5),),
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "duration_s": 3.0,
        "machine": MACHINE,
    }
    return TrialResult.model_validate(fields | changes)
