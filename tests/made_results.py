"""Results made by hand for the tests of analysis and report: what a store holds, without a run."""

from datetime import UTC, datetime, timedelta
from typing import Any

from harness.schema.measurement import Accuracy, CocoMetrics, Measurement, Probe, ProbedTensor, Window
from harness.schema.result import Outcome, TrialResult
from harness.schema.system import GpuDevice, Machine, Provenance
from harness.schema.trial import Trial

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MACHINE = Machine(
    hostname="node-1",
    os="Linux",
    kernel="6.1.0",
    architecture="x86_64",
    cpu_model="Some CPU 3000",
    cpu_cores=2,
    memory_bytes=8 * 2**30,
    python="3.11.7",
    gpu_note="no driver library",
)
PROVENANCE = Provenance(
    harness_version="0.1.0",
    git_commit="0123456789abcdef",
    git_dirty=False,
    command=("harness", "run", "matrices/demo.yaml"),
    packages={"torch": "2.14.1", "numpy": "2.3.0"},
    environment={"OMP_NUM_THREADS": "1"},
    containment="session",
    data_fingerprints={"train": "aa" * 32, "val": "bb" * 32},
)
RESULT_FIELDS = frozenset(TrialResult.model_fields)


def make_machine(gpus: int = 0, **changes: Any) -> Machine:
    """A machine, with so many GPUs of one kind."""
    devices = tuple(
        GpuDevice(uuid=f"GPU-{n}", name="Some GPU", memory_bytes=80 * 2**30, compute_capability="8.0")
        for n in range(gpus)
    )
    return MACHINE.model_copy(update={"gpus": devices, **changes})


def make_result(**given: Any) -> TrialResult:
    """A result; the names of `given` are the trial's or the result's; `rates`: images and seconds by rank."""
    rates = given.pop("rates", [(40, 10.0)])
    fields = {name: value for name, value in given.items() if name in RESULT_FIELDS}
    settings = {name: value for name, value in given.items() if name not in RESULT_FIELDS}
    trial = Trial(**{"backend": "torch_maskrcnn", "phase": "train", "gpus": len(rates), **settings})
    ok = fields.setdefault("outcome", Outcome(kind="ok")).kind == "ok"
    windows = tuple(
        Window(rank=rank, images=images, steps=10, elapsed_s=elapsed, warmup_steps=2, warmup_s=1.0)
        for rank, (images, elapsed) in enumerate(rates)
    )
    record: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "trial": trial,
        "matrix_name": "demo",
        "windows": windows if ok else (),
        "started_at": START,
        "duration_s": 30.0,
        "machine": MACHINE,
        "provenance": PROVENANCE,
    }
    return TrialResult(**(record | fields))


def make_series(name: str, values: Any, rank: int = 0) -> Measurement:
    """A raw series in ms, or a loss."""
    return Measurement(name=name, unit="1" if name == "loss" else "ms", values=tuple(values), rank=rank)


def make_compiling(inside_ms: Any, outside_ms: Any = (), rank: int = 0) -> Measurement:
    """Steps that compiled, in the timed window and outside it."""
    return Measurement(
        name="compile_ms", unit="ms", values=tuple(inside_ms), warmup_values=tuple(outside_ms), rank=rank
    )


def make_probe(image_ids: tuple[int, ...] = (7,), **tensors: Any) -> Probe:
    """A probe of tensors given by their values; each is [1, N], and its absolute maximum is that of the values."""
    return Probe(
        image_ids=image_ids,
        tensors=tuple(
            ProbedTensor(
                name=name, shape=(1, len(values)), largest=max(abs(value) for value in values), values=tuple(values)
            )
            for name, values in tensors.items()
        ),
    )


def make_pair(**changes: Any) -> list[TrialResult]:
    """One weights file evaluated by two backends; `changes` are those of the second."""
    shared = {
        "phase": "eval",
        "options": {"weights": "store:small"},
        "weights_read": {"weights": "ab" * 32},
        "settings": {"flavour": "torchvision"},
        "accuracy": (make_accuracy(0.3771, 0.3412),),
        "probe": make_probe(C2=[0.5, -2.0, 1.0], box_logits=[1.0, -1.0]),
        "provenance": PROVENANCE.model_copy(
            update={"framework": "torch", "model": "Mask R-CNN", "data_fingerprints": {"coco-mini/val": "bb" * 32}}
        ),
    }
    other = PROVENANCE.model_copy(
        update={"framework": "tensorflow", "model": "Mask R-CNN", "data_fingerprints": {"coco-mini/val": "bb" * 32}}
    )
    second = shared | {"backend": "tf_maskrcnn", "provenance": other} | changes
    return [make_result(**shared), make_result(**second)]


def make_metrics(kind: Any, ap: float | None) -> CocoMetrics:
    """COCO numbers that all follow from one AP."""
    names = ("ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")
    high = None if ap is None else min(1.0, ap * 1.5)
    return CocoMetrics(kind=kind, ap=ap, ap50=high, ap75=ap, **dict.fromkeys(names, ap))


def make_accuracy(bbox: float | None, segm: float | None = None, after_steps: int | None = None) -> Accuracy:
    """One scoring of 50 images."""
    metrics = (make_metrics("bbox", bbox), make_metrics("segm", segm))
    return Accuracy(metrics=metrics, images=50, detections=700, scorer="pycocotools 2.0.8", after_steps=after_steps)


def make_store() -> list[TrialResult]:
    """A small store of all phases, outcomes and axes, as a demonstration on two CPU ranks gives it."""
    results = []
    for gpus, batch, precision, images in (
        (1, 2, "fp32", 30),
        (1, 2, "amp", 45),
        (2, 2, "fp32", 27),
        (2, 2, "amp", 40),
        (1, 4, "fp32", 33),
    ):
        for repeat in range(2):
            results.append(
                make_result(
                    rates=[(images, 10.0 + 0.2 * repeat)] * gpus,
                    batch_size_per_gpu=batch,
                    precision=precision,
                    repeat=repeat,
                    seed=1 + repeat,
                    evaluate=True,
                    accuracy=(make_accuracy(0.21 + 0.01 * repeat, 0.18, after_steps=20),),
                    measurements=(
                        make_series("data_wait_ms", [12.0] * 10),
                        make_series("loss", [3.0, 1.5 - 0.1 * repeat]),
                    ),
                    peak_memory_bytes=(900 * 2**20,) * gpus,
                    started_at=START + timedelta(minutes=len(results)),
                    device_name="Some CPU 3000",
                )
            )
    reason = "tf32 needs a GPU of compute capability 8.0 or above; this trial runs on the CPU"
    results.append(
        make_result(
            precision="tf32", batch_size_per_gpu=2, outcome=Outcome(kind="unsupported", reason=reason), evaluate=True
        )
    )
    crash = Outcome(
        kind="crashed", reason="worker ended by SIGKILL after 12 s", signal="SIGKILL", log_tail=("one", "two")
    )
    results.append(make_result(batch_size_per_gpu=8, outcome=crash, evaluate=True))
    for batch, count in ((1, 700), (4, 100), (8, 40)):
        latencies = [100.0 * batch + (n * 37 % 101) * 0.4 for n in range(count)]
        results.append(
            make_result(
                phase="infer",
                batch_size_per_gpu=batch,
                rates=[(batch * count, sum(latencies) / 1000)],
                measurements=(make_series("latency_ms", latencies),),
                peak_memory_bytes=(700 * 2**20,),
            )
        )
    results += [
        make_result(
            phase="eval",
            rates=[(50 // gpus, 6.0 / gpus)] * gpus,
            accuracy=(make_accuracy(0.3771, 0.3412),),
            measurements=(make_series("scoring_ms", [420.0]),),
            settings={"half type": "bfloat16", "memory format": "channels_last"},
        )
        for gpus in (1, 2)
    ]
    return results
