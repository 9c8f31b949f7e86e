"""One pass over the val set, sharded over the ranks and scored once, by rank 0, for all."""

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from harness.hookspecs import Batch, Context, InferenceWork
from harness.measure.marks import Marks
from harness.measure.steps import Stretch, require_alone, require_in_time, time_step
from harness.schema.measurement import Accuracy
from harness.schema.trial import Scorer
from harness.units import ns_to_ms


class Encoded(NamedTuple):
    """One step's detections as COCO results, the ids of its images, and whether they have masks."""

    results: list[dict[str, Any]]
    image_ids: list[int]
    with_masks: bool


@dataclass
class Pass:
    """One pass over this rank's shard, which is one stretch: its times, and what it found."""

    marks: Marks
    stretch: Stretch = field(default_factory=Stretch)
    compiled: list[bool] = field(default_factory=list)
    """Of each step: whether it compiled first, and so is no latency."""
    encodings_ms: list[float] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    with_masks: bool = False

    def take_step(self, work: InferenceWork, batch: Batch) -> Any:
        """Take a step that is alone on the device, and note its times.

        Up to the first step whose time is no compiler's the backend is held to its word at once, so that a whole pass
        is not taken for nothing; what that takes is a wait for the device like any other.
        """
        stretch, early = self.stretch, all(self.compiled)
        self.compiled.append(work.compiles(batch))
        output, drain_ns, elapsed_ns = time_step(work, batch, self.marks)
        if self.compiled[-1]:
            stretch.compile_ns.append(elapsed_ns)
        stretch.step_ns.append(elapsed_ns)
        stretch.images += batch.images
        stretch.drain_ns += drain_ns
        if early:
            start = perf_counter_ns()
            require_alone(work, output, elapsed_ns, batch)
            stretch.drain_ns += perf_counter_ns() - start
        return output

    def encode(self, work: InferenceWork, output: Any) -> None:
        """Keep one step's detections."""
        start = perf_counter_ns()
        encoded = encode(work, output)
        self.encodings_ms.append(ns_to_ms(perf_counter_ns() - start))
        self.results += encoded.results
        self.image_ids += encoded.image_ids
        self.with_masks = self.with_masks or encoded.with_masks

    def end(self, work: InferenceWork, last: Batch | None) -> None:
        """End the stretch, and hold the backend to its word once more, when that disturbs nothing.

        A wait that went missing after the first step shows by the device's clock, in any step; where the device has
        none, in the last batch, which is taken again.

        Raises:
            BackendError: `synchronize` returned too early.
        """
        stretch = self.stretch
        stretch.elapsed_ns = perf_counter_ns() - stretch.start_ns
        stretch.device_ms, stretch.device_s = self.marks.steps_ms(), self.marks.span_s()
        require_in_time(stretch.step_ns, stretch.device_ms)
        if last is not None and not stretch.device_ms:
            again = time_step(work, last)
            require_alone(work, again.output, again.elapsed_ns, last)

    @property
    def latencies_ms(self) -> list[float]:
        """Of the steps that did not compile, by the host's clock."""
        return [ns_to_ms(step) for step, first in zip(self.stretch.step_ns, self.compiled, strict=True) if not first]

    @property
    def latencies_device_ms(self) -> list[float]:
        """The same by the device's clock; empty where it has none."""
        device_ms = self.stretch.device_ms
        steps = zip(device_ms, self.compiled, strict=bool(device_ms))
        return [elapsed_ms for elapsed_ms, first in steps if not first]


class Judge:
    """Collects this rank's detections; rank 0 reads all shards and scores them.

    The ranks meet by the backend's barrier and exchange files in the trial's folder, so that no framework is needed
    to gather detections of any size.
    """

    def __init__(self, scratch: Path, context: Context, scorer: Scorer) -> None:
        self.scratch = scratch
        self.context = context
        self.scorer = scorer
        self.stretches: list[Stretch] = []
        """Of all passes."""
        self.scoring_ms = 0.0

    def score(self, work: InferenceWork, after_steps: int | None) -> tuple[Accuracy, Pass]:
        """Pass over the set once; return the scores, the same on every rank, and this rank's pass.

        Raises:
            BackendError: a detection is malformed, or the ranks' shards do not make up the set.
        """
        from harness.accuracy.shards import write_shard  # noqa: PLC0415 - a trial that scores nothing does not load it

        taken = self.collect(work)
        name = f"pass{after_steps or 0}"
        write_shard(self.scratch / f"{name}.rank{self.context.rank}.json", taken.results, taken.image_ids)
        verdict = self.scratch / f"{name}.accuracy.json"
        work.barrier()
        if self.context.rank == 0:
            accuracy = self.judge(name, with_masks=taken.with_masks).model_copy(update={"after_steps": after_steps})
            verdict.write_text(accuracy.model_dump_json(), encoding="utf-8")
        work.barrier()
        return Accuracy.model_validate_json(verdict.read_bytes()), taken

    def collect(self, work: InferenceWork) -> Pass:
        """Run this rank's shard as one window, encoding as it goes."""
        work.synchronize()
        work.barrier()
        taken, batch = Pass(Marks(work)), None
        self.stretches.append(taken.stretch)
        taken.stretch.start_ns = asked = perf_counter_ns()
        for batch in work.batches():
            taken.stretch.wait_ns.append(perf_counter_ns() - asked)
            taken.encode(work, taken.take_step(work, batch))
            asked = perf_counter_ns()
        taken.end(work, batch)
        return taken

    def judge(self, name: str, *, with_masks: bool) -> Accuracy:
        """Read every rank's shard and score the whole set."""
        from harness.accuracy.scoring import score  # noqa: PLC0415 - as above
        from harness.accuracy.shards import read_shards  # noqa: PLC0415 - as above
        from harness.data import open_dataset  # noqa: PLC0415 - as above

        start = perf_counter_ns()
        dataset = open_dataset(self.context.val)
        paths = [self.scratch / f"{name}.rank{rank}.json" for rank in range(self.context.world_size)]
        results, _ = read_shards(paths, set(dataset.image_ids))
        with_masks = with_masks or any("segmentation" in result for result in results)
        accuracy = score(dataset.coco(), results, ("bbox", "segm") if with_masks else ("bbox",), self.scorer)
        self.scoring_ms = ns_to_ms(perf_counter_ns() - start)
        return accuracy


def encode(work: InferenceWork, output: Any) -> Encoded:
    """Bring one step's detections to the host, as COCO results."""
    from harness.accuracy.encode import coco_results  # noqa: PLC0415 - a trial that scores nothing does not load it

    detections = work.detections(output)
    results = [result for found in detections for result in coco_results(found)]
    with_masks = any(found.masks_NHW is not None for found in detections)
    return Encoded(results, [found.image_id for found in detections], with_masks)
