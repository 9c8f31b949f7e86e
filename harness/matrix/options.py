"""A value against the option that a backend declares: its type, its choices, its range."""

from harness.matrix.near import one_of
from harness.matrix.source import shown
from harness.schema.backend import Option
from harness.schema.trial import OptionValue

_SPOKEN = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


def check_option(option: Option, value: OptionValue) -> OptionValue:
    """The value as the option's type has it: a whole number becomes a float where the option is one.

    Raises:
        ValueError: what was found, and what would be right.
    """
    if value is None and option.default is None:
        return value
    typed = float(value) if option.type == "float" and type(value) is int else value
    if type(typed).__name__ != option.type or not _allowed(option, typed):
        raise ValueError(f"found {shown(value)}; option {option.name} takes {describe(option)}")
    return typed


def describe(option: Option) -> str:
    """What an option takes, as a phrase: a whole number from 1 to 8; nvidia or torchvision."""
    if option.choices:
        return one_of(shown(choice) for choice in option.choices)
    low, high = option.minimum, option.maximum
    bounds = [
        f" from {low:g} to {high:g}" if low is not None and high is not None else "",
        f" of at least {low:g}" if low is not None and high is None else "",
        f" of at most {high:g}" if low is None and high is not None else "",
    ]
    return _SPOKEN[option.type] + "".join(bounds) + (" or null" if option.default is None else "")


def _allowed(option: Option, value: OptionValue) -> bool:
    if option.choices:
        return value in option.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    above = option.minimum is None or value >= option.minimum
    below = option.maximum is None or value <= option.maximum
    return above and below
