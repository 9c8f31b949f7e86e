"""Rules of the house that no linter knows."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness.api
from harness import hookspecs

ROOT = Path(__file__).parent.parent
HOOKS = [name for name in vars(hookspecs) if name.startswith("harness_")]
LOCKED_API = [
    *("BackendInfo", "Batch", "Context", "Detections", "DeviceClock", "DeviceOutOfMemoryError", "InferenceWork"),
    *("Option", "TrainWork", "Trial", "UnsupportedTrialError", "hookimpl"),
]


def test_the_public_surface_is_locked() -> None:
    """A name that plugin authors import is added or removed on purpose."""
    assert sorted(harness.api.__all__) == sorted(LOCKED_API)
    assert all(hasattr(harness.api, name) for name in LOCKED_API)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_implemented_in_tests(hook: str) -> None:
    """A hook that authors cannot read about, or that no test calls, does not exist."""
    signature = f"{hook}({', '.join(inspect.signature(getattr(hookspecs, hook)).parameters)})"
    assert signature in (ROOT / "docs/backends.md").read_text()
    assert f"def {hook}(" in (ROOT / "tests/demo_backend/demo_backend.py").read_text()


@pytest.mark.parametrize("protocol", [hookspecs.Work, hookspecs.InferenceWork, hookspecs.TrainWork])
def test_every_method_of_the_seam_is_documented(protocol: type) -> None:
    """The page for authors names each method of the work."""
    text = (ROOT / "docs/backends.md").read_text()
    methods = [name for name in vars(protocol) if not name.startswith("_")]
    assert methods
    for name in methods:
        assert re.search(rf"^\| `{name}\(", text, re.MULTILINE), name


def modules_after(statement: str) -> set[str]:
    """The top-level modules that an interpreter has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"torch", "tensorflow", "numpy", "pandas", "matplotlib", "jinja2", "cv2", "PIL", "pycocotools", "pynvml"}


def test_help_loads_nothing_heavy() -> None:
    """Not even pydantic: help answers at once."""
    loaded = modules_after("from harness.cli import parser\nparser().format_help()")
    assert not loaded & (HEAVY | {"pydantic", "pluggy", "yaml"})


@pytest.mark.parametrize(
    "module", ["harness.api", "harness.data", "harness.kernels", "harness.plugins", "harness.worker.trial"]
)
def test_the_doors_are_light(module: str) -> None:
    """What every backend and worker imports brings no framework and no numpy."""
    assert not modules_after(f"import {module}") & HEAVY


def test_describing_a_backend_loads_no_framework() -> None:
    """Planning never waits for an import of torch."""
    loaded = modules_after("from harness.plugins import describe_all\ndescribe_all()")
    assert not loaded & {"torch", "torchvision", "tensorflow"}


def test_folders_that_share_a_name_with_packages_hold_no_package() -> None:
    """`kernels` and `reports` are taken names on the package index; a module of ours would shadow or be shadowed."""
    for folder in ("kernels", "reports", "matrices"):
        assert not list((ROOT / folder).glob("**/*.py"))


PLANTED = {
    "harness/analysis/planted.py": "import harness.report",
    "harness/runner/planted.py": "import harness.worker",
    "harness/schema/planted.py": "import harness.api",
    "harness/matrix/planted.py": "import backends.torch_impl",
    "harness/data/planted.py": "import pycocotools",
    "harness/report/planted.py": "import pandas",
    "harness/kernels/planted.py": "import harness.data",
    "harness/kernels/planted_too.py": "import PIL",
    "backends/torch_impl/planted.py": "import harness.errors",
    "backends/torch_impl/planted_too.py": "import tensorflow",
    "harness/planted_room.py": "",
}


def test_planted_violations_break_the_import_rules(tmp_path: Path) -> None:
    """Each kind of forbidden arrow, and a room that has no place, is caught."""
    for package in ("harness", "backends"):
        for source in (ROOT / package).rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    assert lint(tmp_path).returncode == 0, lint(tmp_path).stdout
    for place, statement in PLANTED.items():
        (tmp_path / place).write_text(statement)
    found = lint(tmp_path).stdout
    for place in PLANTED:
        assert place.removesuffix(".py").replace("/", ".") in found, place


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the import rules over a copy of the packages."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
