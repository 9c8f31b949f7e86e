from dataclasses import dataclass

import numpy as np

from harness.statistics.percentiles import Samples, finite


@dataclass(frozen=True, slots=True)
class Summary:
    """A series in brief, in its own unit; std is the sample standard deviation, None of a single sample."""

    median: float
    mean: float
    min: float
    max: float
    std: float | None
    count: int


def summary(samples: Samples) -> Summary:
    """Summarise a series; the median of an even number is the mean of the middle two.

    Raises:
        ValueError: there is no sample, or one is not finite.
    """
    values_N = finite(samples)
    if not len(values_N):
        raise ValueError("no samples; a summary needs at least one")
    return Summary(
        median=float(np.median(values_N)),
        mean=float(values_N.mean()),
        min=float(values_N.min()),
        max=float(values_N.max()),
        std=float(values_N.std(ddof=1)) if len(values_N) > 1 else None,
        count=len(values_N),
    )
