"""Whether one side needs fewer steps to its target than the other's runs let expect: MLPerf's rule on convergence.

Speed alone does not tell a faster implementation from one that computes something else, such as another schedule.
"""

from collections.abc import Sequence

from harness.analysis.accuracy import MLPERF_RUNS
from harness.analysis.metrics import last_accuracy
from harness.schema.result import TrialResult
from harness.statistics.mlperf import convergence_point, maximum_speedup, minimum_epochs, training_result

Results = Sequence[TrialResult]


def convergence_note(base: Results, other: Results) -> str | None:
    """What a reader of times to a target must know, the base being the reference.

    None where a side has fewer runs than MLPerf asks for, a run of the base or two of the other missed the target, or
    batches differ: a reference holds for one size.
    """
    reference = [found for result in base if (found := steps_to_target(result)) is not None]
    steps = [steps_to_target(result) for result in other]
    batches = {each.trial.global_batch_size * each.trial.gradient_accumulation_steps for each in (*base, *other)}
    if min(len(reference), len(steps)) < MLPERF_RUNS or len(reference) < len(base) or len(batches) > 1:
        return None
    point, mean = convergence_point(reference), training_result(steps)
    if mean is None or not 0 < mean < minimum_epochs(point, len(steps)):
        return None
    return (
        f"the other reaches the target after {mean:,.0f} steps, the base after {point.mean:,.0f}, means without best "
        f"and worst run: by MLPerf's rule it may converge {maximum_speedup(point, len(steps)):.1%} faster at most"
    )


def steps_to_target(result: TrialResult) -> int | None:
    """After how many training steps a run was scored at its target or above, where it ends; None where it missed it."""
    scored = last_accuracy(result)
    return scored.after_steps if scored and result.time_to_target_s is not None else None
