"""What a backend says of itself, without importing its framework."""

from typing import Literal

from harness.schema.record import Record
from harness.schema.trial import Device, OptionValue, Phase, Precision

OptionType = Literal["bool", "int", "float", "str"]
Launcher = Literal["local", "torchrun"]


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
    launcher: Launcher = "local"
    max_ranks: int | None = None
    distributions: tuple[str, ...] = ()
    """Names of installed distributions whose versions every result records, the framework's first."""
    options: tuple[Option, ...] = ()

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((option for option in self.options if option.name == name), None)
