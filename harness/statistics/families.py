"""Many tests at once: of a hundred tests that are each wrong in 1 % of cases, one is wrong more often than not."""

from collections.abc import Sequence


def together(chances: Sequence[float], tests: int) -> float:
    """Return the chance of `tests` tests of one thing together; those that are not given are taken to show nothing.

    Simes, 1986: of two equal chances it is that chance, of one alone among two it is twice that. It holds for tests
    that are independent or agree more often than that, as throughput and latency of the same processes do.
    """
    return min([1.0, *(tests * chance / rank for rank, chance in enumerate(sorted(chances), 1))])


def passing(chances: Sequence[float], tests: int, level: float) -> int:
    """Return how many of `tests` tests may be believed, the rarest first: the given chances are the smallest of them.

    Benjamini and Hochberg, 1995: the most, j, of which the j-th is at most `level` * j / tests. Where nothing differs
    any is believed in at most a share `level` of families; where something does, at most that share of what is
    believed is wrong on average.
    """
    return max((rank for rank, chance in enumerate(sorted(chances), 1) if chance <= bar(rank, tests, level)), default=0)


def bar(believed: int, tests: int, level: float) -> float:
    """Return the chance that none of so many believed tests may exceed."""
    return level * believed / tests
