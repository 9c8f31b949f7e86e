"""Whether tensors are those of a model: what fits, what is missing, what is left over."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.weights.shapes import Shape

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """Names, each in one of four groups."""

    fits: tuple[str, ...]
    """Wanted and given in the same shape."""
    missing: tuple[str, ...]
    """Wanted, and not given."""
    left_over: tuple[str, ...]
    """Given, and not wanted."""
    reshaped: Mapping[str, tuple[Shape, Shape]]
    """Given in another shape: the given and the wanted one."""

    @property
    def whole(self) -> bool:
        """Whether everything wanted is given."""
        return not self.missing and not self.reshaped

    @property
    def exact(self) -> bool:
        """Whether, besides, nothing else is given."""
        return self.whole and not self.left_over

    def line(self) -> str:
        """Counts, and the first names of each group."""
        wanted = len(self.fits) + len(self.missing) + len(self.reshaped)
        shapes = [f"{name} {given} for {want}" for name, (given, want) in self.reshaped.items()]
        parts = (some("missing", self.missing), some("left over", self.left_over), some("of another shape", shapes))
        return "; ".join((f"{len(self.fits)} of {wanted} tensors fit", *(part for part in parts if part)))


def some(what: str, names: tuple[str, ...] | list[str]) -> str:
    """How many, and the first few in alphabetical order; nothing if there are none."""
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{len(names)} {what}: {shown}" + (", …" if len(names) > _SHOWN else "")


def fit(wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> Fit:
    """Compare shapes by name."""
    common = [name for name in wanted if name in given]
    wrong = {name: (tuple(given[name]), tuple(wanted[name])) for name in common if given[name] != wanted[name]}
    return Fit(
        fits=tuple(name for name in common if name not in wrong),
        missing=tuple(name for name in wanted if name not in given),
        left_over=tuple(name for name in given if name not in wanted),
        reshaped=wrong,
    )
