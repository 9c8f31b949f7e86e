"""One pass over the val set, sharded over the ranks and scored once, by rank 0, for all."""

from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from harness.hookspecs import Batch, Context, InferenceWork
from harness.measure.marks import Marks
from harness.measure.steps import Stretch, repeat, require_drained, time_step
from harness.schema.measurement import Accuracy
from harness.schema.trial import Scorer
from harness.units import ns_to_ms


class Judge:
    """Collects this rank's detections; rank 0 reads all shards and scores them.

    The ranks meet by the backend's barrier and exchange files in the trial's folder, so that no framework is needed
    to gather detections of any size.
    """

    def __init__(self, scratch: Path, context: Context, scorer: Scorer) -> None:
        self.scratch = scratch
        self.context = context
        self.scorer = scorer
        self.stretch = Stretch()
        self.latencies_ms: list[float] = []
        self.latencies_device_ms: list[float] = []
        self.encodings_ms: list[float] = []
        self.scoring_ms = 0.0

    def score(self, work: InferenceWork, after_steps: int | None) -> Accuracy:
        """Pass over the set once and return the scores, the same on every rank.

        Raises:
            BackendError: a detection is malformed, or the ranks' shards do not make up the set.
        """
        from harness.accuracy.shards import write_shard  # noqa: PLC0415 - a trial that scores nothing does not load it

        results, image_ids, with_masks = self.collect(work)
        name = f"pass{after_steps or 0}"
        write_shard(self.scratch / f"{name}.rank{self.context.rank}.json", results, image_ids)
        verdict = self.scratch / f"{name}.accuracy.json"
        work.barrier()
        if self.context.rank == 0:
            accuracy = self.judge(name, with_masks=with_masks).model_copy(update={"after_steps": after_steps})
            verdict.write_text(accuracy.model_dump_json(), encoding="utf-8")
        work.barrier()
        return Accuracy.model_validate_json(verdict.read_bytes())

    def collect(self, work: InferenceWork) -> tuple[list[dict[str, Any]], list[int], bool]:
        """Run this rank's shard as one window, encoding as it goes; also say whether there are masks."""
        results: list[dict[str, Any]] = []
        image_ids: list[int] = []
        with_masks = False
        work.synchronize()
        work.barrier()
        self.encodings_ms.clear()
        marks = Marks(work)
        compiled: list[bool] = []
        self.stretch.start_ns = asked = perf_counter_ns()
        for batch in work.batches():
            self.stretch.wait_ns.append(perf_counter_ns() - asked)
            compiled.append(work.compiles(batch))
            output, elapsed_ns = time_step(work, batch, marks)
            if all(compiled[:-1]):  # up to the first step whose time is no compiler's
                require_drained(work, output, elapsed_ns, partial(repeat, work, batch, 1))
            self.count_step(batch, elapsed_ns, compiled=compiled[-1])
            encoded, ids, masked = self.encode(work, output)
            results += encoded
            image_ids += ids
            with_masks = with_masks or masked
            asked = perf_counter_ns()
        self.stretch.elapsed_ns += perf_counter_ns() - self.stretch.start_ns
        self.read_marks(marks, compiled)
        return results, image_ids, with_masks

    def count_step(self, batch: Batch, elapsed_ns: int, *, compiled: bool) -> None:
        """Note a synchronised step; one that compiled is no latency."""
        if compiled:
            self.stretch.compile_ns.append(elapsed_ns)
        else:
            self.latencies_ms.append(ns_to_ms(elapsed_ns))
        self.stretch.step_ns.append(elapsed_ns)
        self.stretch.images += batch.images

    def read_marks(self, marks: Marks, compiled: list[bool]) -> None:
        """Note what the device's clock says of a pass, where there is one."""
        device_ms = marks.steps_ms()
        self.stretch.device_ms += device_ms
        self.stretch.device_s = marks.span_s()
        if device_ms:
            pairs = zip(device_ms, compiled, strict=True)
            self.latencies_device_ms += [elapsed_ms for elapsed_ms, first in pairs if not first]

    def encode(self, work: InferenceWork, output: Any) -> tuple[list[dict[str, Any]], list[int], bool]:
        """One step's detections as COCO results, its image ids, and whether they have masks."""
        from harness.accuracy.encode import coco_results  # noqa: PLC0415 - as above

        start = perf_counter_ns()
        detections = work.detections(output)
        encoded = [result for found in detections for result in coco_results(found)]
        self.encodings_ms.append(ns_to_ms(perf_counter_ns() - start))
        with_masks = any(found.masks_NHW is not None for found in detections)
        return encoded, [found.image_id for found in detections], with_masks

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
