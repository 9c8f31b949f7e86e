"""The shipped matrix of DGX A100 holds what was published for it, point by point, and nothing else."""

from pathlib import Path

import pytest
import yaml
from matrix_texts import machine

from harness.matrix.loading import load_matrix
from harness.matrix.plan import expand
from harness.plugins import describe_all

ROOT = Path(__file__).parents[2]
SYSTEMS = {"pt_maskrcnn": "torch_maskrcnn", "tf_maskrcnn": "tf_maskrcnn", "tf2_efficientdet": "tf_efficientdet_d0"}


@pytest.fixture(scope="module")
def records():
    """The published figures."""
    path = ROOT / "reports" / "published" / "dgx-a100.yaml"
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


@pytest.fixture(scope="module")
def trials():
    """The trials of the matrix, as on a machine that has all they need."""
    backends, broken = describe_all()
    assert not broken
    plan = expand(load_matrix(ROOT / "matrices" / "dgx-a100.yaml"), backends, machine(8))
    assert all(point.runs for point in plan.points)
    return [point.trial for point in plan.points]


def point_of(record):
    """Backend, phase, GPUs, batch size, precision and XLA of a published figure."""
    return (
        SYSTEMS[record["system"]],
        record["mode"],
        record["gpu_count"],
        record["batch_size_per_gpu"],
        record["precision"].lower(),
        record.get("xla", False),
    )


def test_every_published_throughput_has_its_point_and_every_point_a_throughput(records, trials):
    """Both ways, for training and inference of the three systems; each point stands there once."""
    published = {point_of(record) for record in records["records"] if record["metric"] == "throughput"}
    planned = [
        (trial.backend, trial.phase, trial.gpus, trial.batch_size_per_gpu, trial.precision, trial.xla)
        for trial in trials
    ]
    assert {backend for backend, *_ in published} == set(SYSTEMS.values())
    assert sorted(planned) == sorted(published)


def test_every_published_latency_has_its_point(records, trials):
    """Latencies were published for inference alone, at batch sizes that the matrix has."""
    planned = {(trial.backend, trial.batch_size_per_gpu, trial.precision) for trial in trials if trial.phase == "infer"}
    latencies = [point_of(record) for record in records["records"] if record["metric"] == "latency"]
    assert {(backend, batch, precision) for backend, _, _, batch, precision, _ in latencies} <= planned


def test_every_figure_has_its_source(records):
    """Each names a revision that the head of the file describes, a table, and the text that was printed."""
    sources = records["meta"]["sources"]
    for record in records["records"]:
        assert record["source"] in sources
        assert "A100" in record["hardware"]
        assert record["table"]
        assert float(record["published_text"].replace(",", "").rstrip("x%")) == pytest.approx(record["value"], rel=1e-3)


def test_elsewhere_the_plan_says_what_is_missing():
    """Without GPUs every point stands there with its reason."""
    backends, _ = describe_all()
    plan = expand(load_matrix(ROOT / "matrices" / "dgx-a100.yaml"), backends, machine(1))
    reasons = {point.unsupported for point in plan.points if not point.runs}
    assert reasons == {f"needs {gpus} GPUs; this machine has 1 (Tested GPU)" for gpus in (4, 8)}
