"""A rehearsal: a small stand-in that any machine can run for every point of a plan, to see that all of it works.

A stand-in has the point's backend, phase, XLA, solver and ranks, as many as there are cores; everything that only
makes it big is small. Its numbers say nothing about the point. Points that differ in size alone have one stand-in.
"""

from collections.abc import Mapping

from harness.matrix.feasible import why_not
from harness.matrix.model import Requires
from harness.matrix.plan import Plan, Point
from harness.schema.backend import BackendInfo
from harness.schema.system import Machine
from harness.schema.trial import DataNames, OptionValue, Precision, Trial

IMAGES, IMAGE_SIZE = 8, 128
"""Of the generated sets, and the shorter side of what a model sees: a multiple of every stride that a pyramid has."""
BATCH_SIZE, ACCUMULATION = 2, 2
"""At most: one and several still differ."""
WARMUP_STEPS, TIMED_STEPS = 1, 1
TIMEOUT_S = 600.0
DATA = DataNames(
    train=f"coco-mini:images={IMAGES},size={IMAGE_SIZE}/train", val=f"coco-mini:images={IMAGES},size={IMAGE_SIZE}/val"
)
ON_CPU: dict[Precision, Precision] = {"tf32": "fp32"}
"""What stands in for a precision that CPUs do not have."""


def rehearsed(plan: Plan, backends: Mapping[str, BackendInfo], machine: Machine) -> Plan:
    """The same points, each with its stand-in; what the machine lacks no longer matters, what a backend lacks does."""
    return Plan(tuple(_rehearsed(point, backends[point.trial.backend], machine) for point in plan.points))


def _rehearsed(point: Point, info: BackendInfo, machine: Machine) -> Point:
    trial = point.trial.model_copy(update={"rehearsal": True})
    if point.dropped_by is not None:
        return Point(trial, point.dropped_by)
    small = stand_in(point.trial, info, machine)
    return Point(trial, None, why_not(small, info, machine, Requires()), small)


def stand_in(trial: Trial, info: BackendInfo, machine: Machine) -> Trial:
    """The small trial that is run in the place of a trial, on the CPU if the backend runs there."""
    device = "cpu" if "cpu" in info.devices else trial.device
    most = max(1, machine.cpu_cores or 1 if device == "cpu" else len(machine.gpus))
    return trial.model_copy(
        update={
            "device": device,
            "gpus": min(trial.world_size, most),
            "nodes": 1,
            "batch_size_per_gpu": min(trial.batch_size_per_gpu, BATCH_SIZE),
            "precision": ON_CPU.get(trial.precision, trial.precision) if device == "cpu" else trial.precision,
            "gradient_accumulation_steps": min(trial.gradient_accumulation_steps, ACCUMULATION),
            "image_size": IMAGE_SIZE,
            "repeat": 0,
            "data": DATA,
            "warmup_steps": WARMUP_STEPS,
            "max_warmup_steps": None,
            "timed_steps": TIMED_STEPS,
            "timed_seconds": None,
            "timed_interval": None,
            "max_timed_steps": None,
            "evaluate_every_steps": None if trial.evaluate_every_steps is None else TIMED_STEPS,
            "target": None,
            "timeout_s": TIMEOUT_S,
            "options": _small_options(trial, info),
        }
    )


def _small_options(trial: Trial, info: BackendInfo) -> dict[str, OptionValue]:
    """The trial's options, those that the backend names for a rehearsal small."""
    return {name: info.rehearsal.get(name, value) for name, value in trial.options.items()}
