"""Student's t distribution at whole degrees of freedom, in closed form: no special function, no table."""

from functools import lru_cache
from math import atan2, cos, inf, pi, sqrt

import numpy as np


def t_cdf(t: float, dof: int) -> float:
    """Return the probability that Student's t with `dof` degrees of freedom does not exceed t.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4, over powers of the cosine of atan(t / sqrt(dof)).

    Raises:
        ValueError: dof is below 1.
    """
    if dof < 1:
        raise ValueError(f"{dof} degrees of freedom; at least 1 is needed")
    if abs(t) == inf:
        return 0.0 if t < 0 else 1.0
    angle = atan2(t, sqrt(dof))
    odd = dof % 2
    # Factors between neighbouring terms: 2/3, 4/5, ... of the odd sum, which starts at the cosine, 1/2, 3/4, ... else.
    above = np.arange(2 - (not odd), dof - 2 + odd, 2, dtype=np.float64)[: max(0, (dof - 2 - odd + 1) // 2)]
    terms = np.cumprod(np.concatenate([[1.0], above / (above + 1) * cos(angle) ** 2]))
    sine = t / sqrt(dof + t * t)
    if not odd:
        return 0.5 + 0.5 * sine * float(terms.sum())
    within = angle + (sine * cos(angle) * float(terms.sum()) if dof > 1 else 0.0)
    return 0.5 + within / pi


@lru_cache
def t_quantile(probability: float, dof: int) -> float:
    """Return the t that Student's t stays at or below with `probability`, to about twelve digits, by bisection.

    Raises:
        ValueError: probability is not inside (0, 1), or dof is below 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability {probability}; it must be between 0 and 1")
    if probability < 0.5:
        return -t_quantile(1 - probability, dof)
    low, high = 0.0, 1.0
    while t_cdf(high, dof) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if t_cdf(middle, dof) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
