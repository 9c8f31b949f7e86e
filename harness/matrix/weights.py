"""Weights that trials hand to one another by name: who saves a name, who reads it as `store:<name>`."""

from collections.abc import Collection, Iterator, Mapping

from harness.errors import MatrixError
from harness.matrix.near import suggest
from harness.matrix.plan import Plan
from harness.matrix.source import shown
from harness.schema.trial import Trial


def check_weights(plan: Plan, stored: Collection[str]) -> None:
    """Refuse a name that is saved twice, or that is read before it can be there.

    Args:
        plan: points that a rule drops neither save nor read.
        stored: the names that the store has already.

    Raises:
        MatrixError: the first such name, in the order in which trials run.
    """
    trials = [point.trial for point in plan.points if point.dropped_by is None]
    savers = savers_of(trials)
    saved: set[str] = set(stored)
    for trial in trials:
        for option, name in trial.weights_read().items():
            if name not in saved:
                raise MatrixError(_unknown(trial, option, name, savers, saved))
        if trial.save_weights is not None:
            saved.add(trial.save_weights)


def savers_of(trials: Collection[Trial]) -> dict[str, str]:
    """The id of the trial that saves each name.

    Raises:
        MatrixError: two save the same one.
    """
    savers: dict[str, str] = {}
    for name, trial_id in _saving(trials):
        other = savers.setdefault(name, trial_id)
        if other != trial_id:
            problem = f"{other} and {trial_id} both save weights as {shown(name)}"
            raise MatrixError(f"{problem}; give each trial a name of its own, one point to a block")
    return savers


def _saving(trials: Collection[Trial]) -> Iterator[tuple[str, str]]:
    for trial in trials:
        if trial.save_weights is not None:
            yield trial.save_weights, trial.trial_id


def _unknown(trial: Trial, option: str, name: str, savers: Mapping[str, str], saved: Collection[str]) -> str:
    """The problem of a name that is not there yet, or never."""
    found = f"{trial.trial_id}: {option} is {shown(f'store:{name}')}"
    if name in savers:
        return f"{found}, which {savers[name]} saves only later; put its block first"
    known = suggest(name, saved)
    return f"{found}; no earlier trial saves that name and the store does not have it; {known}"
