"""--only keeps the points that meet an expression, and refuses what it cannot read."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_texts import plan_of

from harness.errors import MatrixError
from harness.matrix.match import FIELDS, Condition, Conditions
from harness.matrix.near import near_names, one_of, suggest
from harness.matrix.select import parse_only, select
from harness.schema.trial import Trial

PLAN = plan_of(
    "name: m\ndevice: cpu\ndefaults: {repeats: 2}\ntrials:\n"
    "  - backend: box\n    phase: [train, infer]\n"
    "    axes: {precision: [fp32, tf32, amp], xla: [false, true], gpus: [1, 2, 4]}\n"
    "  - {backend: pole, phase: infer}\n"
)


@pytest.mark.parametrize(
    ("expr", "keeps"),
    [
        ("phase=infer", lambda t: t.phase == "infer"),
        ("backend=b*", lambda t: t.backend == "box"),
        ("backend=b* phase=infer", lambda t: t.backend == "box" and t.phase == "infer"),
        ("backend=b*,phase=infer", lambda t: t.backend == "box" and t.phase == "infer"),
        ("gpus=1,2", lambda t: t.gpus in (1, 2)),
        ("gpus=1,4,phase=train", lambda t: t.gpus in (1, 4) and t.phase == "train"),
        ("precision!=tf32", lambda t: t.precision != "tf32"),
        ("precision!=tf32,amp", lambda t: t.precision == "fp32"),
        ("precision=?p32", lambda t: t.precision == "fp32"),
        ("gpus>=2", lambda t: t.gpus >= 2),
        ("gpus>1 gpus<4", lambda t: t.gpus == 2),
        ("gpus<=1.5", lambda t: t.gpus == 1),
        ("xla=true", lambda t: t.xla),
        ("repeat=1", lambda t: t.repeat == 1),
        ("image_size=null", lambda t: t.image_size is None),
        ("flavour=plain", lambda t: t.backend == "box"),
        ("flavour!=spiced", lambda t: t.backend == "box"),
        ("threads=1", lambda t: t.backend == "pole"),
        ("rate=null", lambda t: t.phase == "train"),
    ],
)
def test_an_expression_keeps_what_meets_it(expr, keeps):
    """The kept points are those that a reader of the expression would keep, in their order."""
    kept = select(PLAN, expr)

    assert kept.points == tuple(point for point in PLAN.points if keeps(point.trial))


@pytest.mark.parametrize(
    ("expr", "line"),
    [
        ("", "--only: no condition in it; right would be name=value, as phase=infer"),
        (" , ", "--only: no condition in it; right would be name=value, as phase=infer"),
        ("infer", "--only: 'infer' is no condition; right would be name=value, as phase=infer"),
        ("phase=train infer", "--only: 'infer' is no condition; right would be name=value, as phase=infer"),
        ("phase=", "--only: 'phase=' is no condition; right would be name=value, as phase=infer"),
        ("gpus>=2,4", "--only: '4' is no condition; right would be name=value, as phase=infer"),
        ("gpus>=two", "--only: gpus>=two compares with no number; right would be as gpus>=2"),
        ("gpus<true", "--only: gpus<true compares with no number; right would be as gpus>=2"),
        ("gpu=1", "--only: unknown field 'gpu'; did you mean gpus?"),
        ("phse=infer", "--only: unknown field 'phse'; did you mean phase?"),
        ("trial_id=no-such", "--only: none of 74 points meets trial_id=no-such; `harness plan` lists them"),
        (
            "trial_id=pole phase=train",
            "--only: none of 74 points meets trial_id=pole phase=train; `harness plan` lists them",
        ),
        ("gpus=8", "--only: none of 74 points meets gpus=8; `harness plan` lists them"),
        ("gpus=1 xla=yes", "--only: none of 74 points meets gpus=1 xla=yes; `harness plan` lists them"),
        ("precision!=*", "--only: none of 74 points meets precision!=*; `harness plan` lists them"),
    ],
)
def test_an_expression_that_says_nothing_is_one_line(expr, line):
    """What cannot be read, an unknown field, and an expression that no point meets are errors."""
    with pytest.raises(MatrixError) as caught:
        select(PLAN, expr)

    assert str(caught.value) == line


FIRST = PLAN.points[0].trial.trial_id


@pytest.mark.parametrize(
    ("wanted", "keeps"),
    [
        (FIRST, lambda each: each == FIRST),
        (FIRST[-10:], lambda each: each == FIRST),
        ("pole-", lambda each: each.startswith("pole-")),
        ("box-train-cpu1-b1-*-xla-*", lambda each: each.startswith("box-train-cpu1-b1-") and "-xla-" in each),
        (f"pole-,{FIRST}", lambda each: each.startswith("pole-") or each == FIRST),
    ],
)
def test_a_trial_is_named_by_its_id(wanted, keeps):
    """Whole, by its beginning or end, by a pattern; several at once; its opposite keeps all others."""
    ids = [point.trial.trial_id for point in PLAN.points]
    assert [point.trial.trial_id for point in select(PLAN, f"trial_id={wanted}").points] == list(filter(keeps, ids))
    others = [each for each in ids if not keeps(each)]
    assert [point.trial.trial_id for point in select(PLAN, f"trial_id!={wanted}").points] == others
    assert not {point.trial.phase for point in select(PLAN, "trial_id=box-train gpus=2").points} - {"train"}


def test_an_id_that_looks_like_a_number_is_text():
    """The end of an id may be spelled as a number is."""
    with pytest.raises(MatrixError, match="none of 74 points meets trial_id=12e4567890"):
        select(PLAN, "trial_id=12e4567890")


@given(st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_any_text_is_read_or_refused(text):
    """No expression ends in anything but conditions or a MatrixError."""
    with suppress(MatrixError):
        assert parse_only(text)


@pytest.mark.parametrize(
    ("wanted", "value", "holds"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (None, 0, False),
        ("a*", "abc", True),
        ("A*", "abc", False),
        ("a[bx]c", "abc", True),
        (">=4", 4, True),
        (">= 4", 4, True),
        (">4", 4, False),
        ("<1e-3", 0.0001, True),
        (">=1", True, False),
        (">=4", ">=4", True),
        (">=x", 4, False),
        ("4", 4, False),
    ],
)
def test_one_value_against_another(wanted, value, holds):
    """Equality by kind, patterns for text, comparisons for numbers."""
    trial = Trial(backend="box", phase="infer", options={"any": value})

    assert Condition("any", (wanted,)).holds(trial) is holds
    assert Condition("any", (wanted,), negated=True).holds(trial) is not holds
    assert Conditions([Condition("any", (wanted,))]).hold(trial) is holds


def test_a_field_goes_before_an_option_of_its_name():
    """Conditions on a name that is a field look at the field."""
    trial = Trial(backend="box", phase="infer", seed=1, options={"seed": 2})

    assert Condition("seed", (1,)).holds(trial)
    assert not Condition("seed", (2,)).holds(trial)
    assert "seed" in FIELDS


def test_near_names():
    """The nearest come first, case does not count, and without a near one all are listed."""
    known = ["precision", "phase", "gpus", "batch_size_per_gpu"]

    assert near_names("Presicion", known) == ["precision"]
    assert suggest("gpu", known) == "did you mean gpus?"
    assert suggest("zzz", known) == "known: batch_size_per_gpu, gpus, phase, precision"
    assert suggest("zzz", []) == "there is none to choose from"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "0"), (2, "0 or 1"), (3, "0, 1 or 2"), (32, ", ".join(map(str, range(30))) + " or 2 more")],
)
def test_a_choice_is_spelled_as_in_a_sentence(count, text):
    """Commas, then or; a long list ends with how many more there are."""
    assert one_of(range(count)) == text
