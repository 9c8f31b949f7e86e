"""What to run."""

from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, StringConstraints

from harness.schema.record import Record

Phase = Literal["train", "eval", "infer"]
Precision = Literal["fp32", "tf32", "amp"]
Device = Literal["cpu", "cuda"]
Scorer = Literal["pycocotools", "hotcoco"]
Launcher = Literal["local", "torchrun", "horovod"]
OptionValue = bool | int | float | str | None
Fraction = Annotated[PositiveFloat, Field(lt=1)]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What names a file or a folder of a store."""
UNSET_BEFORE = frozenset({"max_warmup_steps", "timed_seconds", "timed_interval", "max_timed_steps"})
"""Settings that came later: where they are null, a trial is the one that it was without them."""
STEADY_STEPS = 5
"""Of each stretch by which a warm-up is seen to be steady: enough that one step is not its rate."""
TIMED_ROUNDS = 100
"""How many times timed_steps there may be, where a trial does not say."""
STORE_PREFIX = "store:"
"""Before a name in an option's value: the weights that a trial left in the store under it."""


class DataNames(Record):
    """The data sets of a trial: names from the catalogue, or paths of COCO-format sets."""

    train: str = "coco-mini/train"
    val: str = "coco-mini/val"


class Target(Record):
    """A quality to train to; each part given must be reached. Fractions, as 0.377."""

    bbox_ap: float | None = None
    segm_ap: float | None = None


class Trial(Record):
    """One point of a matrix: all that decides what a worker does."""

    backend: str
    phase: Phase
    device: Device = "cpu"
    gpus: PositiveInt = Field(1, description="ranks on each node: GPUs, or CPU processes where device is cpu")
    nodes: PositiveInt = 1
    launcher: Launcher | None = Field(None, description="what starts several ranks; null: the backend's first")
    batch_size_per_gpu: PositiveInt = 1
    precision: Precision = "fp32"
    xla: bool = False
    gradient_accumulation_steps: PositiveInt = 1
    image_size: PositiveInt | None = Field(None, description="shorter side in pixels; null: the published size")
    seed: NonNegativeInt = 1
    repeat: NonNegativeInt = Field(0, description="which of the repeats of this point")
    data: DataNames = DataNames()
    warmup_steps: NonNegativeInt = 10
    max_warmup_steps: PositiveInt | None = Field(
        None, description="go on after warmup_steps until steps are steady, up to so many; null: warmup_steps is all"
    )
    timed_steps: PositiveInt = 100
    timed_seconds: PositiveFloat | None = Field(
        None, description="repeat the timed steps until they have lasted so many seconds"
    )
    timed_interval: Fraction | None = Field(
        None, description="repeat the timed steps until the rate is known to ± this fraction, at 95 %"
    )
    max_timed_steps: PositiveInt | None = Field(
        None, description="where timed steps are repeated, the most there may be; null: 100 times timed_steps"
    )
    evaluate: bool = Field(False, description="train phase: score the trained model on the val set afterwards")
    evaluate_every_steps: PositiveInt | None = Field(
        None, description="train phase: score so often, outside the window"
    )
    target: Target | None = Field(None, description="train phase: stop at this quality")
    save_weights: Annotated[str, StringConstraints(pattern=NAME)] | None = Field(
        None, description="train phase: leave the trained weights in the store under this name"
    )
    probe: bool = Field(False, description="eval phase: sample the intermediate tensors of the first batch")
    scorer: Scorer = "pycocotools"
    rehearsal: bool = Field(False, description="a small stand-in runs in its place, whose numbers measure nothing")
    timeout_s: PositiveFloat = 3600.0
    options: dict[str, OptionValue] = Field(default_factory=dict, description="the backend's own options")

    @property
    def world_size(self) -> int:
        """Ranks of all nodes together."""
        return self.gpus * self.nodes

    @property
    def global_batch_size(self) -> int:
        """Images of one forward pass, all ranks together."""
        return self.batch_size_per_gpu * self.world_size

    @property
    def size(self) -> str:
        """Ranks, images and arithmetic in words."""
        ranks = f"{self.world_size} {self.device} rank{'' if self.world_size == 1 else 's'}"
        images = f"{self.batch_size_per_gpu} image{'' if self.batch_size_per_gpu == 1 else 's'}"
        pixels = "" if self.image_size is None else f" of {self.image_size} px"
        return f"{ranks} × {images}{pixels}, {self.precision}{', XLA' if self.xla else ''}"

    def weights_read(self) -> dict[str, str]:
        """The names of weights in the store that options ask for, by option."""
        given = {option: value for option, value in self.options.items() if isinstance(value, str)}
        return {
            option: value.removeprefix(STORE_PREFIX)
            for option, value in given.items()
            if value.startswith(STORE_PREFIX)
        }

    def identity(self) -> str:
        """All that decides a result, as text; how long one is willing to wait for it does not."""
        unset = {name for name in UNSET_BEFORE if getattr(self, name) is None}
        return self.model_dump_json(exclude={"timeout_s", *unset})

    @property
    def trial_id(self) -> str:
        """A name that a person can read and that no other trial has; it names the file of the result."""
        digest = sha256(self.identity().encode()).hexdigest()[:10]
        ranks = f"{self.nodes}x{self.gpus}" if self.nodes > 1 else f"{self.gpus}"
        marks = ("-xla" if self.xla else "") + ("-rehearsal" if self.rehearsal else "")
        return (
            f"{self.backend}-{self.phase}-{self.device}{ranks}-b{self.batch_size_per_gpu}"
            f"-{self.precision}{marks}-r{self.repeat}-{digest}"
        )
