"""What a printed number can have been before it was rounded, and arithmetic on that.

A number printed with d decimals stands for every value within half a unit of its last digit: 21 for 20.5 to 21.5, 6.90
for 6.895 to 6.905. Both ends count, since printers round halves up, to even, or as their binary fraction falls.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

SLACK = 1e-9
"""Relative; ends are sums and quotients of binary fractions."""
MOST_DIGITS = 30
"""What is larger, smaller or longer was not measured, and its square would leave the range of numbers."""
EXHAUSTIVE = 10
"""Up to so many values the largest deviation is sought among all 2^n corners."""

_NUMBER = re.compile(r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?")


@dataclass(frozen=True, slots=True)
class Interval:
    """All values from low to high, both included, and the one that comes of the numbers as printed, if any does."""

    low: float
    high: float
    value: float | None = None

    def __truediv__(self, other: "Interval") -> "Interval":
        """Quotients of two sides that are not negative; without bound where the divisor may be zero."""
        value = None if self.value is None or not other.value else self.value / other.value
        return Interval(self.low / other.high if other.high > 0 else 0.0, divided(self.high, other.low), value)

    def __mul__(self, other: "Interval") -> "Interval":
        """Products of two sides that are not negative."""
        value = None if self.value is None or other.value is None else self.value * other.value
        return Interval(self.low * other.low, self.high * other.high, value)

    def scaled(self, factor: float) -> "Interval":
        """The same values in another unit."""
        return Interval(self.low * factor, self.high * factor, None if self.value is None else self.value * factor)

    def stretched(self, least: float, most: float) -> "Interval":
        """From `least` times the low end to `most` times the high one."""
        return Interval(self.low * least, self.high * most, self.value)

    def gap(self, other: "Interval") -> float:
        """Distance between two intervals; 0 where they share a value."""
        distance = max(self.low - other.high, other.low - self.high)
        return 0.0 if distance <= SLACK * max(abs(self.low), abs(other.high), SLACK) else distance


def divided(value: float, divisor: float) -> float:
    """A quotient; infinite where the divisor is zero or below."""
    return value / divisor if divisor > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Printed:
    """One number as it was printed; `quantum` is a unit of its last digit."""

    text: str
    value: float
    quantum: float

    @property
    def interval(self) -> Interval:
        """What it can have been."""
        return Interval(self.value - self.quantum / 2, self.value + self.quantum / 2, self.value)

    @property
    def loose(self) -> Interval:
        """What it can have been if trailing zeros were filled in: 1.300 as 1.3."""
        whole, _, decimals = self.text.partition(".")
        kept = decimals.rstrip("0")
        quantum = 10.0 ** -len(kept) if decimals.isdigit() and whole else self.quantum
        return Interval(self.value - quantum / 2, self.value + quantum / 2, self.value)


def read_number(text: str) -> tuple[Printed, str] | None:
    """The number at the beginning of a cell, and what follows it; None if the cell begins otherwise."""
    stripped = text.strip()
    found = _NUMBER.match(stripped)
    if not found:
        return None
    spelled = found[0].replace(",", "").replace("−", "-").rstrip(".")
    mantissa, _, exponent = spelled.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    value = float(spelled)
    power = int(exponent or 0)
    if max(decimals, abs(power)) > MOST_DIGITS or abs(value) >= 10.0**MOST_DIGITS:
        return None
    return Printed(spelled, value, 10.0 ** (power - decimals)), stripped[found.end() :]


def mean_of(values: Sequence[Interval]) -> Interval:
    """All means of one value from each interval."""
    count = len(values)
    low, high = sum(each.low for each in values), sum(each.high for each in values)
    return Interval(low / count, high / count, sum(centre_of(each) for each in values) / count)


def deviation_of(values: Sequence[Interval], *, sample: bool) -> Interval:
    """All standard deviations of one value from each interval; `sample` divides by n - 1, else by n.

    The smallest is at the values nearest to one common centre; the largest at a corner, as the variance is convex. Of
    many values it is bounded by the triangle inequality instead: deviation of the middles, plus that of the errors.
    """
    count = len(values)
    divisor = count - 1 if sample else count
    printed = math.sqrt(_squares([centre_of(each) for each in values]) / divisor)
    return Interval(math.sqrt(_least(values) / divisor), math.sqrt(_most(values) / divisor), printed)


def centre_of(interval: Interval) -> float:
    """The value as printed, or the middle."""
    return (interval.low + interval.high) / 2 if interval.value is None else interval.value


def _least(values: Sequence[Interval]) -> float:
    """The smallest sum of squared distances from a common centre, by halving on the sign of its slope."""
    low, high = min(each.low for each in values), max(each.high for each in values)
    for _ in range(100):
        centre = (low + high) / 2
        slope = sum(centre - min(max(centre, each.low), each.high) for each in values)
        low, high = (low, centre) if slope > 0 else (centre, high)
    return sum((low - min(max(low, each.low), each.high)) ** 2 for each in values)


def _most(values: Sequence[Interval]) -> float:
    if len(values) <= EXHAUSTIVE:
        return max(_squares(corner) for corner in itertools.product(*((each.low, each.high) for each in values)))
    middles = _squares([centre_of(each) for each in values])
    errors = sum(((each.high - each.low) / 2) ** 2 for each in values)
    return (math.sqrt(middles) + math.sqrt(errors)) ** 2


def _squares(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)
