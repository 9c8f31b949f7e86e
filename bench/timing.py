"""How the scripts of this folder time a call; they import it as `timing`, being run from here."""

import time
from collections.abc import Callable

RUNS = 3
"""Of so many calls the fastest counts: what else the machine does only ever adds."""


def best_of(call: Callable[[], object], runs: int = RUNS) -> float:
    """Seconds of the fastest of a few calls."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)
