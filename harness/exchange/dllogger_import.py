"""DLLogger files as results of a store.

What a published system's log says of itself is kept as raw series. Its windows are made anew, from the time stamps of
its steps and the batch size: images ÷ time, as everywhere here, though no synchronisation backs them. A log whose lines
do not allow that has no window, and so no throughput: a rate that a backend computed itself reaches no table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any, get_args

from harness.errors import ReportError
from harness.exchange.dllogger_lines import DLLOGGER_PHASES, LogFile, StepLine
from harness.schema.measurement import Measurement, Window
from harness.schema.result import Imported, Outcome, OutcomeKind, TrialResult
from harness.schema.system import Machine
from harness.schema.trial import DataNames, Phase, Precision, Trial
from harness.units import Unit

UNITS: Mapping[str, Unit] = {
    **dict.fromkeys(("img/s", "images/s", "samples/s", "ips", "fps"), "images/s"),
    **dict.fromkeys(("s", "sec", "seconds"), "s"),
    **dict.fromkeys(("ms", "milliseconds"), "ms"),
}
BATCH_SIZES = ("batch_size", "train_batch_size", "batch_size_per_gpu")
"""Parameters that published logs hold as the batch size of one GPU."""
UNKNOWN = "unknown"
WORLD_SIZES = ("world_size", "num_gpus", "ngpus", "gpus")


@dataclass(frozen=True)
class Told:
    """What a user says of the runs behind some logs; None is looked up in the log's parameters."""

    backend: str
    matrix: str
    phase: Phase = "train"
    precision: Precision | None = None
    gpus: int | None = None
    batch_size_per_gpu: int | None = None
    warmup_steps: int | None = None
    machine: str = UNKNOWN


def imported(log: LogFile, told: Told, repeat: int) -> TrialResult:
    """One log as one result: a repeat of the point that `told` and the log's parameters describe.

    Raises:
        ReportError: neither says how many images a step has.
    """
    lines = [line for line in log.steps if belongs(line, told.phase)]
    trial = trial_of(log, lines, told, repeat)
    window = window_of(lines, trial)
    return TrialResult(
        trial_id=trial.trial_id,
        trial=trial,
        matrix_name=told.matrix,
        outcome=outcome_of(log, told.phase),
        windows=() if window is None else (window,),
        measurements=tuple(series_of(lines, log.units, trial.warmup_steps)),
        device_name=text_of(log.parameters, "device_name"),
        settings={f"parameter {name}": str(value) for name, value in sorted(log.parameters.items())},
        imported=Imported(
            format="dllogger", file=log.name, sha256=log.sha256, timed_by="timestamps" if window else "none"
        ),
        started_at=datetime.fromtimestamp(log.first_s, UTC),
        duration_s=log.last_s - log.first_s,
        machine=Machine(
            hostname=told.machine,
            os=UNKNOWN,
            kernel=UNKNOWN,
            architecture=UNKNOWN,
            cpu_model=None,
            cpu_cores=None,
            memory_bytes=None,
            python=UNKNOWN,
            gpu_note="imported from a log, which does not say",
        ),
    )


def outcome_of(log: LogFile, phase: Phase) -> Outcome:
    """How the run ended, where the log says so as an exported one does; a published log is one of a run that did."""
    kind, reason = (log.summary.get(f"{DLLOGGER_PHASES[phase]}.{name}") for name in ("outcome", "reason"))
    if kind not in get_args(OutcomeKind) or kind == "ok":
        return Outcome(kind="ok")
    return Outcome(kind=kind, reason=str(reason) if reason else f"{log.name} says so")


def trial_of(log: LogFile, lines: Sequence[StepLine], told: Told, repeat: int) -> Trial:
    """The trial behind a log.

    Raises:
        ReportError: its batch size is not known.
    """
    batch = told.batch_size_per_gpu or whole(log.parameters, BATCH_SIZES)
    if batch is None:
        raise ReportError(f"{log.name}: its parameters hold no batch size; say --batch-size-per-gpu N")
    warmup = told.warmup_steps if told.warmup_steps is not None else whole(log.parameters, ("warmup_steps",)) or 0
    accumulation = whole(log.parameters, ("gradient_accumulation_steps",)) if told.phase == "train" else None
    return Trial(
        backend=told.backend,
        phase=told.phase,
        device="cpu" if log.parameters.get("device") == "cpu" else "cuda",
        gpus=told.gpus or whole(log.parameters, WORLD_SIZES) or 1,
        batch_size_per_gpu=batch,
        gradient_accumulation_steps=accumulation or 1,
        precision=told.precision or precision_of(log.parameters),
        image_size=whole(log.parameters, ("image_size",)),
        data=DataNames(
            train=text_of(log.parameters, "data.train") or UNKNOWN, val=text_of(log.parameters, "data.val") or UNKNOWN
        ),
        xla=any(log.parameters.get(name) is True for name in ("xla", "use_xla")),
        repeat=repeat,
        warmup_steps=warmup,
        timed_steps=max(1, timed(lines, warmup)[0]),
    )


def whole(parameters: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The first of these parameters that is a positive whole number."""
    found = (parameters.get(name) for name in names)
    return next(
        (value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0), None
    )


def text_of(parameters: Mapping[str, Any], name: str) -> str | None:
    """A parameter that is a text of at least a character."""
    found = parameters.get(name)
    return found if isinstance(found, str) and found else None


def precision_of(parameters: Mapping[str, Any]) -> Precision:
    """From the switches of published logs; fp32 where they say nothing, since TF32 is nobody's switch."""
    known: tuple[Precision, ...] = get_args(Precision)
    for precision in known:
        if parameters.get("precision") == precision:
            return precision
    return "amp" if any(parameters.get(name) is True for name in ("amp", "fp16", "use_amp")) else "fp32"


def belongs(line: StepLine, phase: Phase) -> bool:
    """Whether a line speaks of this phase; metrics without the name of any phase speak of all."""
    others = tuple(f"{name}." for each, name in DLLOGGER_PHASES.items() if each != phase)
    return not line.data or not all(name.startswith(others) for name in line.data)


def window_of(lines: Sequence[StepLine], trial: Trial) -> Window | None:
    """The window between the lines of the first and the last timed step, epochs apart; None of fewer than two lines.

    What lies between two epochs, evaluations for instance, is in no window.
    """
    steps, elapsed_s = timed(lines, trial.warmup_steps)
    if steps == 0 or elapsed_s <= 0:
        return None
    images = steps * trial.global_batch_size * trial.gradient_accumulation_steps
    return Window(
        rank=0, images=images, steps=steps, elapsed_s=elapsed_s, warmup_steps=trial.warmup_steps, warmup_s=0.0
    )


def timed(lines: Sequence[StepLine], warmup_steps: int) -> tuple[int, float]:
    """Steps and seconds between lines after the warm-up, those of each epoch together."""
    steps, elapsed_s = 0, 0.0
    for _, members in groupby(after_warmup(firsts(lines), warmup_steps), key=lambda line: line.epoch):
        for first, second in pairwise(members):
            if second.step > first.step:
                steps += second.step - first.step
                elapsed_s += second.timestamp - first.timestamp
    return steps, elapsed_s


def firsts(lines: Sequence[StepLine]) -> list[StepLine]:
    """The first line of each step: a log may have several, as many as it has levels of detail."""
    found: dict[tuple[int | None, int], StepLine] = {}
    for line in lines:
        found.setdefault((line.epoch, line.step), line)
    return list(found.values())


def after_warmup(lines: Sequence[StepLine], warmup_steps: int) -> list[StepLine]:
    """The lines from the last step of the warm-up on: its end is the beginning of what is timed."""
    if not lines:
        return []
    first = lines[0]
    return [
        line
        for line in lines
        if line.epoch != first.epoch or line.step - first.step + 1 >= warmup_steps or warmup_steps == 0
    ]


def series_of(lines: Sequence[StepLine], units: Mapping[str, str], warmup_steps: int) -> Iterator[Measurement]:
    """Every metric as a raw series under its own name, the warm-up apart."""
    first = lines[0].step if lines else 0
    for name in dict.fromkeys(name for line in lines for name in line.data):
        having = [line for line in lines if name in line.data]
        early = [line for line in having if line.epoch == lines[0].epoch and line.step - first < warmup_steps]
        yield Measurement(
            name=name,
            unit=UNITS.get(units.get(name, ""), "1"),
            values=tuple(line.data[name] for line in having[len(early) :]),
            warmup_values=tuple(line.data[name] for line in early),
        )
