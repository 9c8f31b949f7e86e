"""A work that lacks a method is refused before its first step, in one line that names what is missing."""

from typing import Any

import pytest
from records import demo_trial

from harness.errors import HookMismatchError
from harness.hookspecs import InferenceWork, TrainWork, Work
from harness.worker.seam import COMMON, INFERENCE, require_evaluation, require_work


class Lacking:
    """A work with these methods."""

    def __init__(self, *methods: str) -> None:
        for name in methods:
            setattr(self, name, print)


def methods(protocol: type) -> set[str]:
    """The methods that a protocol names."""
    return {name for name in dir(protocol) if not name.startswith("_")}


def test_what_is_asked_for_is_what_the_seam_names() -> None:
    """All of it, but what only some trials call."""
    assert set(COMMON) == methods(Work)
    assert set(INFERENCE) == methods(InferenceWork) - {"probe"}
    assert methods(TrainWork) - set(COMMON) == {"evaluation", "save"}


@pytest.mark.parametrize("phase", ["train", "eval", "infer"])
@pytest.mark.parametrize("lacking", COMMON)
def test_every_method_that_the_host_calls_is_asked_for(phase: str, lacking: str) -> None:
    """The fetch that proves a synchronisation as well as the step."""
    work = Lacking(*(name for name in INFERENCE if name != lacking))
    line = rf"^backend 'demo': harness_{phase} returned Lacking, which lacks {lacking}\(\) of the work$"
    with pytest.raises(HookMismatchError, match=line):
        require_work(demo_trial(phase=phase), work)


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({"phase": "train"}, None),
        ({"phase": "train", "evaluate": True}, "evaluation()"),
        ({"phase": "train", "evaluate_every_steps": 2}, "evaluation()"),
        ({"phase": "train", "evaluate_every_steps": 2, "target": {"bbox_ap": 0.1}}, "evaluation()"),
        ({"phase": "train", "evaluate": True, "save_weights": "some"}, "evaluation(), save()"),
        ({"phase": "eval"}, None),
        ({"phase": "eval", "probe": True}, "probe()"),
        ({"phase": "infer"}, None),
    ],
)
def test_what_a_trial_calls_in_its_last_minute_is_asked_for_in_its_first(
    fields: dict[str, Any], lacks: str | None
) -> None:
    """And is not asked of a trial that does not call it."""
    work = Lacking(*INFERENCE)
    if lacks is None:
        require_work(demo_trial(**fields), work)
        return
    with pytest.raises(HookMismatchError) as caught:
        require_work(demo_trial(**fields), work)
    assert str(caught.value).endswith(f"which lacks {lacks} of the work")


def test_an_evaluation_in_the_midst_of_training_is_a_work_too() -> None:
    """Its line names the method that it came from."""
    require_evaluation("demo", Lacking(*INFERENCE))
    with pytest.raises(HookMismatchError, match=r"evaluation\(\) returned NoneType, which lacks batches\(\), compiles"):
        require_evaluation("demo", None)
