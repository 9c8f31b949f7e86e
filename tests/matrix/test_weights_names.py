"""Weights that one trial saves by name and others read: a name is known before anything runs, or the plan says so."""

import pytest
from matrix_texts import BOX, machine, read

from harness.errors import MatrixError
from harness.matrix.plan import Plan, expand
from harness.matrix.weights import check_weights
from harness.schema.backend import Option

WITH_WEIGHTS = BOX.model_copy(
    update={"options": (*BOX.options, Option(name="weights", type="str", default="random", help=""))}
)
SAVES = "{backend: box, phase: train, save_weights: small}"
READS = "{backend: box, phase: eval, weights: 'store:small'}"


def plan(*blocks: str, rest: str = "") -> Plan:
    """The plan of a few blocks on the CPU."""
    listed = "".join(f"  - {block}\n" for block in blocks)
    return expand(read(f"name: m\ndevice: cpu\ntrials:\n{listed}{rest}"), {"box": WITH_WEIGHTS}, machine())


def test_a_name_is_read_after_it_was_saved() -> None:
    """In the order of the plan, by as many trials as like."""
    check_weights(plan(SAVES, READS, "{backend: box, phase: infer, weights: 'store:small'}"), ())


def test_a_name_that_the_store_has_needs_no_trial() -> None:
    """It may have been trained in an earlier run."""
    check_weights(plan(READS), {"small"})


def test_other_values_of_the_option_are_no_names() -> None:
    """A path is the backend's business."""
    check_weights(plan("{backend: box, phase: eval, weights: some/file.pth}"), ())


@pytest.mark.parametrize(
    ("blocks", "stored", "message"),
    [
        ([READS], (), r"^box-eval-\S+: weights is 'store:small'; no earlier trial saves that name and the store does"),
        ([READS], ("smaller",), "did you mean smaller"),
        ([READS], (), "there is none to choose from$"),
        ([SAVES.replace("small", "smal"), READS], ("big",), "did you mean smal"),
        ([READS, SAVES], (), r"weights is 'store:small', which box-train-\S+ saves only later; put its block first$"),
        ([SAVES, SAVES.replace("}", ", seed: 2}")], (), "both save weights as 'small'; give each trial a name"),
        ([SAVES.replace("}", ", axes: {seed: [1, 2]}}")], (), "both save weights as 'small'"),
        ([SAVES.replace("}", ", repeats: 2}")], (), "both save weights as 'small'"),
    ],
)
def test_a_name_that_cannot_be_read_is_one_line(blocks: list[str], stored: tuple[str, ...], message: str) -> None:
    """Who asks for it, what is wrong, what is near."""
    with pytest.raises(MatrixError, match=message) as caught:
        check_weights(plan(*blocks), stored)
    assert "\n" not in str(caught.value)


def test_points_that_a_rule_drops_neither_save_nor_read() -> None:
    """One point of an axis may save where the rules leave one."""
    both = SAVES.replace("}", ", axes: {seed: [1, 2]}}")
    rest = "exclude:\n  - {when: {seed: 2}, because: one is enough}\n"
    check_weights(plan(both, READS, rest=rest), ())
    with pytest.raises(MatrixError, match="no earlier trial saves"):
        check_weights(plan(SAVES, READS, rest=rest.replace("seed: 2", "phase: train")), ())


@pytest.mark.parametrize("name", ["a/b", "''", "-x", "../x"])
def test_a_name_is_no_path(name: str) -> None:
    """It names a file of the store, whatever the machine."""
    with pytest.raises(MatrixError, match="letters, digits, dots, dashes and underscores"):
        plan(SAVES.replace("small", name))


def test_a_name_is_text() -> None:
    """As in older matrices, where true saved weights under the trial's id."""
    with pytest.raises(MatrixError, match=r"save_weights: found true; right would be text"):
        plan(SAVES.replace("small", "true"))
