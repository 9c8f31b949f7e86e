"""What a backend says of itself, without importing its framework."""

from typing import Literal

from pydantic import Field

from harness.schema.record import Record
from harness.schema.trial import Device, Launcher, OptionValue, Phase, Precision

OptionType = Literal["bool", "int", "float", "str"]


class Option(Record):
    """One typed option that a matrix may set or use as an axis."""

    name: str
    type: OptionType
    default: OptionValue
    help: str
    choices: tuple[OptionValue, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    phases: tuple[Phase, ...] = ("train", "eval", "infer")


class BackendInfo(Record):
    """The static facts of a backend: framework × model."""

    name: str
    framework: str
    model: str
    phases: tuple[Phase, ...]
    precisions: tuple[Precision, ...]
    devices: tuple[Device, ...] = ("cpu", "cuda")
    xla: bool = False
    launchers: tuple[Launcher, ...] = ("local",)
    """What can start several ranks of it; the first does where a trial does not choose."""
    max_ranks: int | None = None
    distributions: tuple[str, ...] = ()
    """Names of installed distributions whose versions every result records, the framework's first."""
    options: tuple[Option, ...] = ()
    kernels_builder: str | None = None
    """A module that builds what binds the framework to the native kernels, as `python -m MODULE cpu|cuda`."""
    rehearsal: dict[str, OptionValue] = Field(default_factory=dict)
    """Values of options that make the model small, for `run --rehearse`."""

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((option for option in self.options if option.name == name), None)
