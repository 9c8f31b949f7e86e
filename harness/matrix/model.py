"""The matrix as its file has it: frozen, every key documented where it is declared.

A key that none of these models knows may be an option of a backend; `plan.expand`, which knows the backends, checks it.
"""

from collections.abc import Sized
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    model_validator,
)

from harness.matrix.source import Source, shown
from harness.schema.record import Record
from harness.schema.trial import NAME, DataNames, Fraction, Launcher, OptionValue, Phase, Precision, Scorer, Target

DeviceChoice = Literal["cuda", "cpu", "auto"]
AfterOutOfMemory = Literal["skip", "run"]
T = TypeVar("T")
F = TypeVar("F", bound=Sized)

CAPABILITY = r"^\d+\.\d+$"

TRAIN_ONLY = frozenset({"gradient_accumulation_steps", "evaluate", "evaluate_every_steps", "target", "save_weights"})
"""Settings that mean something in the train phase alone; other phases do not take them over from the defaults."""

EVAL_ONLY = frozenset({"probe"})
"""As TRAIN_ONLY, of the eval phase."""

ENDLESS_ONLY = frozenset({"max_warmup_steps", "timed_seconds", "timed_interval", "max_timed_steps"})
"""As TRAIN_ONLY, of the phases whose batches never end: an eval trial passes over its set once."""


def _listed(value: object) -> object:
    if isinstance(value, tuple | list):
        return tuple(value)
    return (value,)


def _filled(values: F) -> F:
    if not values:
        kind = "empty mapping" if isinstance(values, dict) else "empty list"
        raise ValueError(f"found an {kind}; right would be one entry or more")
    return values


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    seen: set[tuple[type, T]] = set()
    for value in values:
        if (type(value), value) in seen:
            raise ValueError(f"found {shown(value)} twice; keep one of the two")
        seen.add((type(value), value))
    return values


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"found {shown(value)}; right would be one value: text, a number, true, false or null")


def _quality(target: Target) -> Target:
    given = {name: value for name, value in target if value is not None}
    if not given:
        raise ValueError("found no quality; write bbox_ap, segm_ap or both")
    for name, value in given.items():
        if not 0 < value <= 1:
            raise ValueError(f"found {name} {shown(value)}; right would be a fraction such as 0.377")
    return target


Scalar = Annotated[OptionValue, BeforeValidator(_plain)]
Values = Annotated[tuple[T, ...], BeforeValidator(_listed), AfterValidator(_filled), AfterValidator(_distinct)]
ZipValues = Annotated[tuple[T, ...], BeforeValidator(_listed), AfterValidator(_filled)]
Quality = Annotated[Target, AfterValidator(_quality)]


class Requires(Record):
    """What the machine must have; a trial whose needs are not met is recorded as unsupported, with the reason."""

    model_config = ConfigDict(strict=True)

    gpus: NonNegativeInt | None = Field(None, description="GPUs in the machine, at least")
    compute_capability: Annotated[str, StringConstraints(pattern=CAPABILITY)] | None = Field(
        None, description='of every GPU a trial uses, at least; quoted, as "8.0"'
    )
    gpu_memory_gib: PositiveFloat | None = Field(None, description="memory of every GPU a trial uses, at least, in GiB")
    cpu_cores: PositiveInt | None = Field(None, description="CPU cores, at least")
    memory_gib: PositiveFloat | None = Field(None, description="memory of the machine, at least, in GiB")


class Settings(Record):
    """What a trial block fixes, and what `defaults` fixes for all blocks; any other key is an option of a backend."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar]

    gpus: PositiveInt = Field(1, description="ranks on each node: GPUs, or CPU processes where the device is the CPU")
    nodes: PositiveInt = Field(1, description="machines")
    launcher: Launcher | None = Field(None, description="what starts several ranks; null: the backend's first")
    batch_size_per_gpu: PositiveInt = Field(1, description="images of one forward pass on one rank")
    precision: Precision = Field(
        "fp32", description="arithmetic: float32, TensorFloat-32, or automatic mixed precision"
    )
    xla: bool = Field(False, description="compile with XLA")
    gradient_accumulation_steps: PositiveInt = Field(1, description="forward passes of one optimizer update")
    image_size: PositiveInt | None = Field(
        None, description="shorter side in pixels; null: the backend's published size"
    )
    seed: NonNegativeInt = Field(1, description="seed of weights, data order and augmentation")
    warmup_steps: NonNegativeInt = Field(10, description="steps before the timed window; recorded and kept apart")
    max_warmup_steps: PositiveInt | None = Field(
        None, description="go on after warmup_steps until steps are steady, up to so many; null: warmup_steps is all"
    )
    timed_steps: PositiveInt = Field(100, description="steps of the timed window, or of each of its stretches")
    timed_seconds: PositiveFloat | None = Field(
        None, description="repeat the timed steps until they have lasted so many seconds"
    )
    timed_interval: Fraction | None = Field(
        None, description="repeat the timed steps until the rate is known to ± this fraction, at 95 %"
    )
    max_timed_steps: PositiveInt | None = Field(
        None, description="where timed steps are repeated, the most there may be; null: 100 times timed_steps"
    )
    repeats: PositiveInt = Field(1, description="how often each point runs; rounds of all points follow one another")
    timeout_s: PositiveFloat = Field(3600.0, description="seconds until a trial is ended with the outcome timeout")
    evaluate: bool = Field(False, description="score the trained model on the val set")
    evaluate_every_steps: PositiveInt | None = Field(None, description="score this often, outside the timed window")
    target: Quality | None = Field(None, description="stop at this quality: bbox_ap, segm_ap or both, as fractions")
    save_weights: Annotated[str, StringConstraints(pattern=NAME)] | None = Field(
        None, description="leave the trained weights in the store under this name, for `store:<name>`"
    )
    probe: bool = Field(False, description="sample the intermediate tensors of the first batch")
    scorer: Scorer = Field(
        "pycocotools", description="who scores: pycocotools, the numbers of record, or hotcoco, the extra fast-eval"
    )


class _Ordered(Record):
    """Axes in the order in which the file has them."""

    model_config = ConfigDict(strict=True, extra="allow")
    _order: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        axes = handler(data)
        if isinstance(data, dict):
            axes._order = tuple(data)  # noqa: SLF001  its own
        return axes

    def items(self) -> list[tuple[str, tuple[OptionValue, ...]]]:
        """Each axis with its values, in the order of the file."""
        return [(name, getattr(self, name)) for name in self._order]


class Axes(_Ordered):
    """Axes whose values are crossed; one value may stand without brackets; other keys are options of the backend."""

    __pydantic_extra__: dict[str, Values[Scalar]]

    gpus: Values[PositiveInt] = ()
    nodes: Values[PositiveInt] = ()
    launcher: Values[Launcher | None] = ()
    batch_size_per_gpu: Values[PositiveInt] = ()
    precision: Values[Precision] = ()
    xla: Values[bool] = ()
    gradient_accumulation_steps: Values[PositiveInt] = ()
    image_size: Values[PositiveInt | None] = ()
    seed: Values[NonNegativeInt] = ()


class Zip(_Ordered):
    """Axes whose values go in step: the first of each, the second of each; lists of equal length."""

    __pydantic_extra__: dict[str, ZipValues[Scalar]]

    gpus: ZipValues[PositiveInt] = ()
    nodes: ZipValues[PositiveInt] = ()
    launcher: ZipValues[Launcher | None] = ()
    batch_size_per_gpu: ZipValues[PositiveInt] = ()
    precision: ZipValues[Precision] = ()
    xla: ZipValues[bool] = ()
    gradient_accumulation_steps: ZipValues[PositiveInt] = ()
    image_size: ZipValues[PositiveInt | None] = ()
    seed: ZipValues[NonNegativeInt] = ()


class Block(Settings):
    """One entry of `trials`: a backend, its phases and axes."""

    backend: str = Field(description="name of an installed backend; `harness backends` lists them")
    phase: Values[Phase] = Field(description="train, eval or infer, or a list of them, which is crossed with the axes")
    axes: Axes = Field(default_factory=Axes, description="values to cross, by name; the last axis varies fastest")
    zip: Zip = Field(default_factory=Zip, description="values to take in step, by name; crossed with the axes")
    device: DeviceChoice | None = Field(None, description="overrides the matrix's device for this block")
    data: DataNames | None = Field(None, description="overrides the matrix's data for this block, role by role")
    requires: Requires | None = Field(None, description="overrides the matrix's requires for this block, need by need")


class Exclude(Record):
    """A rule that drops points; one that matches none is an error."""

    model_config = ConfigDict(strict=True)

    when: Annotated[dict[str, Values[Scalar]], AfterValidator(_filled)] = Field(
        description="all keys must match: a value, a pattern (tf_*), a comparison (>=4), or a list of them",
    )
    because: Annotated[str, StringConstraints(min_length=1)] = Field(description="why; shown with every dropped point")


class Matrix(Record):
    """A whole matrix file."""

    model_config = ConfigDict(strict=True)
    _source: Source = PrivateAttr(default_factory=Source)

    name: Annotated[str, StringConstraints(pattern=NAME)] = Field(
        description="names the results folder; letters, digits, dots, dashes and underscores"
    )
    description: str = Field("", description="one line for the report")
    device: DeviceChoice = Field(
        "cuda",
        description="cuda, cpu, or auto: cuda where the machine has as many GPUs as the trial asks for, else cpu",
    )
    requires: Requires = Field(default_factory=Requires, description="what the machine must have for any trial")
    data: DataNames = Field(default_factory=DataNames, description="train and val: names of sets, or their paths")
    defaults: Settings = Field(default_factory=Settings, description="settings and options for all blocks")
    trials: Annotated[tuple[Block, ...], AfterValidator(_filled)] = Field(description="blocks of trials, one or more")
    exclude: tuple[Exclude, ...] = Field((), description="rules that drop points, each with its reason")
    after_out_of_memory: AfterOutOfMemory = Field(
        "skip", description="skip or run: what becomes of points no smaller than one that ran out of memory"
    )

    @property
    def source(self) -> Source:
        """Where the values stand in the file."""
        return self._source

    def located(self, source: Source) -> Self:
        """The same matrix, which knows its file."""
        copy = self.model_copy()
        copy._source = source  # noqa: SLF001  its own copy
        return copy
