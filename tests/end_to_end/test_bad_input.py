"""Bad input gets one clear line and the documented exit code, and harms nothing that is recorded."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

WRONG = [
    ("phase: [train, infer]", "phaze: [train, infer]", "did you mean phase"),
    ("batch_size_per_gpu: [1, 2, 4]", "batch_size_per_gpu: []", "batch_size_per_gpu"),
    ("step_ms: 2.0", "step_sm: 2.0", "did you mean step_ms"),
    ("step_ms: 2.0", "step_ms: soon", "step_ms"),
    (
        "step_ms: 2.0}",
        "step_ms: 2.0}\n    weights: store:smal",
        "weights is 'store:smal'; no earlier trial saves that name",
    ),
    ("backend: demo", "backend: dmeo", "demo"),
    ("name: small", "name: small\nname: twice", "name"),
    ("name: small", "name: [", "small.yaml"),
    ('val: "synthetic:32x24:6"', "val: no/such/set", "no/such/set"),
    ("trials:", "exclude: [{when: {gpus: 64}, because: too many}]\ntrials:", "matches no"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG)
def test_a_wrong_matrix_is_one_line(harness: Harness, matrix: Path, right: str, wrong: str, message: str) -> None:
    """What was found and where, exit code 2, nothing started."""
    text = matrix.read_text()
    assert right in text
    matrix.write_text(text.replace(right, wrong))
    ran = harness("run", matrix)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr
    assert not (matrix.parent / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "none.yaml"), "none.yaml"),
        (("report", "nowhere"), "nowhere holds no results"),
        (("show", "nowhere"), "nowhere holds no results"),
        (("data", "check", "nowhere"), "nowhere"),
        (("data", "make", "."), "exists"),
        (("data", "make", "new", "--images", "0"), "images"),
        (("rnu",), "rnu"),
        ((), "COMMAND"),
        (("run", "small.yaml", "--only", "phsae=infer"), "phase"),
        (("run", "small.yaml", "--timeout", "-1"), "above 0"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    harness: Harness, matrix: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Also where the mistake is not in the matrix."""
    ran = harness(*arguments)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert message in ran.stderr
    assert matrix.exists()


def test_a_broken_backend_harms_only_who_asks_for_it(harness: Harness, matrix: Path) -> None:
    """Installed beside the others and raising on import, it is named where it is wanted and listed as broken."""
    folder = matrix.parent
    site = folder / "site" / "broken-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text("[harness.backends]\nbroken = broken_plugin\n")
    (site.parent / "broken_plugin.py").write_text("raise ImportError('libfancy.so.3 is missing')\n")
    environment = {"PYTHONPATH": str(site.parent)}
    assert harness("run", matrix, "--only", "phase=infer precision=fp32", **environment).returncode == 0
    before = len(list((folder / "results/small/trials").iterdir()))
    listed = harness("backends", **environment)
    assert listed.returncode == 1
    assert "broken: broken: backend 'broken' (broken_plugin) cannot be imported: ImportError: libfancy" in listed.stdout
    doctor = harness("doctor", **environment)
    assert doctor.returncode == 1
    assert "problem: backend 'broken'" in doctor.stdout
    matrix.write_text(matrix.read_text().replace("backend: demo", "backend: broken").replace(", step_ms: 2.0", ""))
    ran = harness("run", matrix, **environment)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "libfancy.so.3 is missing" in ran.stderr
    assert len(list((folder / "results/small/trials").iterdir())) == before


def test_failing_points_give_exit_code_1(harness: Harness, matrix: Path) -> None:
    """The matrix finishes, the report names the failure, --retry runs just that point again."""
    text = matrix.read_text()
    faulty = text.replace("step_ms: 2.0", "fault: [none, raises]").replace("[fp32, amp]", "fp32")
    matrix.write_text(faulty.replace("[1, 2, 4]", "1").replace("[train, infer]", "infer"))
    ran = harness("run", matrix)
    assert ran.returncode == 1, ran.stderr
    assert "1 ok" in ran.stdout
    assert "1 failed" in ran.stdout
    assert "ValueError: boom over two lines" in (matrix.parent / "results/small/report.md").read_text()
    again = harness("run", matrix, "--retry")
    assert again.returncode == 1
    assert again.stderr.count("boom") == 1
