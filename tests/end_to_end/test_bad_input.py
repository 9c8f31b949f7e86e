"""Bad input gets one clear line and the documented exit code, and harms nothing that is recorded."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.run import BAD, outcomes
from harness.schema.result import BAD_OUTCOMES

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
        (("run", "small.yaml", "--timeout", "soon"), "'soon' is not a number of seconds above 0"),
        (("run", "small.yaml", "--retry", "failed,ok"), "'ok' is no outcome; right would be some of unsupported, out_"),
        (("run", "--retry", "small.yaml"), "'small.yaml' is no outcome"),
        (("run", "small.yaml", "--retry", "--fresh"), "not allowed with"),
        (("show", "small.yaml"), "small.yaml is no folder"),
        (("report", "nowhere", "--check", "a.md", "--update", "a.md"), "not allowed with"),
        (("show", "a\x1b[31m\nb"), r"a\x1b[31m\nb holds no results"),
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


def test_names_that_are_no_utf_8_are_spelled_out_or_refused(harness: Harness, matrix: Path) -> None:
    """Records say them as far as text can; a store in such a folder, which workers could not be told of, is refused."""
    odd = matrix.with_name(os.fsdecode(b"m\xff.yaml"))
    matrix.rename(odd)
    one = ("--only", "phase=infer precision=fp32 batch_size_per_gpu=1")
    ran = harness("run", odd, *one, "--results", "store", XLA_FLAGS=os.fsdecode(b"--x=\xff"))
    assert ran.returncode == 0, ran.stderr
    record = json.loads(next((matrix.parent / "store/trials").iterdir()).read_text())
    assert record["provenance"]["matrix_file"] == r"m\udcff.yaml"
    assert record["provenance"]["environment"]["XLA_FLAGS"] == r"--x=\udcff"
    refused = harness("run", odd, *one, "--results", os.fsdecode(b"d\xff"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert r"d\udcff: a folder's name is not UTF-8" in refused.stderr


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
    assert ran.stderr.splitlines()[-1].startswith("`harness show results/small TRIAL` tells how one of them ended;")
    assert "ValueError: boom over two lines" in (matrix.parent / "results/small/report.md").read_text()
    asked_for = re.findall(r"failed: ValueError: boom over two lines \(.*; trial (\w+)\)", ran.stderr)
    assert "boom" in harness("show", "results/small", *asked_for).stdout
    again = harness("run", matrix, "--retry")
    assert again.returncode == 1
    assert again.stderr.count("boom") == 1


def test_what_ran_out_of_memory_is_tried_again_when_asked(harness: Harness, matrix: Path) -> None:
    """By its outcome's name, and with it what was skipped for its sake; --retry alone is for what makes exit code 1."""
    text = matrix.read_text().replace("step_ms: 2.0", "fault: needs_memory").replace("[fp32, amp]", "fp32")
    matrix.write_text(text.replace("[1, 2, 4]", "[2, 4, 8]").replace("[train, infer]", "train"))
    ran = harness("run", matrix)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "1 ok, 1 out_of_memory, 1 skipped")
    assert "CUDA out of memory" not in harness("run", matrix, "--retry").stderr
    again = harness("run", matrix, "--retry", "out_of_memory,crashed")
    assert again.stdout.splitlines()[0] == "1 ok, 1 out_of_memory, 1 skipped"
    assert "1 of 3 points are in" in again.stderr
    assert again.stderr.count("CUDA out of memory") == 1
    aside = sorted(path.name for path in (matrix.parent / "results/small/superseded").iterdir())
    assert [name.partition("-fp32")[0] for name in aside] == ["demo-train-cpu1-b4", "demo-train-cpu1-b8"]


def test_a_broken_record_hides_no_other(harness: Harness, matrix: Path) -> None:
    """The trial that was asked for is shown, and so is the list; each broken record is named with what to do."""
    assert harness("run", matrix, "--only", "phase=infer precision=fp32").returncode == 0
    store = matrix.parent / "results/small"
    broken, sound, _ = sorted((store / "trials").iterdir())
    broken.write_bytes(broken.read_bytes()[:300])
    sibling = sound.with_name(f"{sound.stem[:-1]}x.json")
    sibling.write_text("{")
    shown = harness("show", store, sound.stem)
    assert (shown.returncode, shown.stderr.count("\n")) == (0, 1)
    assert shown.stdout.startswith(sound.stem)
    assert f"{sibling.name} is broken" in shown.stderr
    listed = harness("show", store)
    assert (listed.returncode, listed.stderr.count("\n")) == (1, 2)
    assert sound.stem in listed.stdout
    for command in (("show", store, broken.stem), ("run", matrix), ("report", store)):
        refused = harness(*command)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert f"{broken.name} is broken: Invalid JSON" in refused.stderr
        assert "move it out of the store" in refused.stderr
    broken.unlink()
    sibling.unlink()
    assert harness("run", matrix, "--only", "phase=infer precision=fp32").returncode == 0


def test_the_default_of_retry_is_what_makes_exit_code_1() -> None:
    """The help's words and the records' are one set."""
    assert outcomes(BAD) == BAD_OUTCOMES
