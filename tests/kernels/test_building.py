"""Libraries are compiled once, kept by all that they depend on, and never seen half made."""

import dataclasses
import os
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from harness import doctor
from harness.errors import KernelError
from harness.kernels import building, recipes, sources, status, toolchain
from harness.kernels.building import Recipe, build, place_of
from harness.kernels.toolchain import Compiler

ROOT = Path(__file__).parents[2]
GOOD = 'for last; do :; done; echo made > "$last"'
PROGRAM = """
import sys
from pathlib import Path
from harness.kernels.building import Recipe, build
from harness.kernels.toolchain import Compiler
built = build(Recipe("lib", Compiler(sys.argv[1], "1"), (Path(sys.argv[2]),), (), ()))
print(built.path)
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(name="source")
def _source(tmp_path):
    path = tmp_path / "one.cpp"
    path.write_text("int one() { return 1; }\n")
    return path


def compiler(folder, script=GOOD):
    """A program that is called as a compiler is and writes down its calls; the output is its last argument."""
    path = folder / "cc"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder / "calls"}\n{script}\n')
    path.chmod(0o755)
    return Compiler(str(path), "1")


def recipe_of(source, made_by):
    """A library of one source."""
    return Recipe("lib", made_by, (source,), ("-O1",), ("-shared",), ("cpu: sse",))


def test_a_library_is_compiled_once(source, tmp_path):
    """The second time it is there, and no compiler is called."""
    recipe = recipe_of(source, compiler(tmp_path))
    assert build(recipe).seconds > 0
    assert build(recipe).seconds == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"compiler": Compiler("/usr/bin/other", "1")},
        {"compiler": Compiler("/usr/bin/cc", "2")},
        {"flags": ("-O2",)},
        {"link": ("-shared", "-lm")},
        {"depends": ("cpu: avx2",)},
    ],
    ids=["compiler", "version", "flags", "link", "depends"],
)
def test_another_library_where_anything_differs(source, change):
    """Flags, compiler and its version, what else it depends on: the CPU, or a framework's version."""
    recipe = recipe_of(source, Compiler("/usr/bin/cc", "1"))
    assert dataclasses.replace(recipe, **change).digest() != recipe.digest()
    assert dataclasses.replace(recipe).digest() == recipe.digest()


def test_another_library_where_the_source_differs(source):
    """Its text counts, not its date."""
    recipe = recipe_of(source, Compiler("/usr/bin/cc", "1"))
    before = recipe.digest()
    os.utime(source, (1, 1))
    assert recipe.digest() == before
    source.write_text("int one() { return 2; }\n")
    assert recipe.digest() != before


def test_another_library_where_a_header_differs(source, tmp_path, monkeypatch):
    """Any header of the kernels: which of them a source includes is not looked up."""
    monkeypatch.setattr(sources, "source_root", lambda: tmp_path / "kernels")
    (tmp_path / "kernels").mkdir()
    header = tmp_path / "kernels" / "box.h"
    header.write_text("// one\n")
    recipe = recipe_of(source, Compiler("/usr/bin/cc", "1"))
    before = recipe.digest()
    header.write_text("// two\n")
    assert recipe.digest() != before


def test_the_cpus_library_is_of_this_cpu(monkeypatch):
    """Code for one processor may not run on another that shares its home folder."""
    before = recipes.recipe("cpu").digest()
    monkeypatch.setattr(recipes, "cpu_flags", lambda: "sse2")
    assert recipes.recipe("cpu").digest() != before


def test_processes_that_build_at_once_compile_once(source, tmp_path):
    """The others wait, and get the same library."""
    made_by = compiler(tmp_path, f"sleep 0.4; {GOOD}")
    command = [sys.executable, "-c", PROGRAM, made_by.path, str(source)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate(timeout=60)[0] for process in processes}
    assert len(paths) == 1
    assert Path(paths.pop().strip()).read_text() == "made\n"
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


def test_a_library_is_never_half_there(source, tmp_path):
    """A builder that is killed while it links leaves no library; the next one builds it."""
    made_by = compiler(tmp_path, 'for last; do :; done; printf ma > "$last"; case "$1" in -c) ;; *) sleep 30;; esac')
    with subprocess.Popen([sys.executable, "-c", PROGRAM, made_by.path, str(source)]) as process:
        while len((tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else ()) < 2:
            time.sleep(0.02)
        recipe = Recipe("lib", made_by, (source,), (), ())
        assert place_of(recipe).parent.is_dir()
        assert not place_of(recipe).exists()
        process.kill()
    assert not place_of(recipe).exists()
    compiler(tmp_path)
    assert build(recipe).path.read_text() == "made\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo 'one.cpp:1:5: error: no such type' >&2; exit 1",
            "cc failed: one.cpp:1:5: error: no such type; all that",
        ),
        ("echo 'fatal error: cannot write x.o: No space left on device' >&2; exit 1", "No space left on device; all"),
        ("exit 3", "cc failed: exit code 3; all that it said is in"),
    ],
    ids=["source", "space", "silent"],
)
def test_what_the_compiler_refuses_is_one_line(source, tmp_path, script, words):
    """The first error, and where all of them are; nothing but the log is left."""
    recipe = recipe_of(source, compiler(tmp_path, script))
    with pytest.raises(KernelError) as caught:
        build(recipe)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    folder = place_of(recipe).parent
    assert sorted(path.name for path in folder.iterdir()) == ["build.log", "lock"]
    log = (folder / "build.log").read_text()
    assert str(source) in log
    assert script.partition("'")[2].partition("'")[0] in log


def test_a_source_that_does_not_compile_is_named(tmp_path):
    """By the machine's own compiler, with its line."""
    source = tmp_path / "broken.cpp"
    source.write_text("int one() {\n  return missing;\n}\n")
    with pytest.raises(KernelError, match=r"failed: .*broken.cpp:2:\d+: error: .*missing"):
        build(recipe_of(source, toolchain.host_compiler()))


def test_a_cache_that_cannot_be_written_is_one_line(source, tmp_path, monkeypatch):
    """It names the folder and the reason."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelError, match=r"^lib cannot be built in .*file.*: Not a directory$"):
        build(recipe_of(source, compiler(tmp_path)))


def test_a_compiler_that_hangs_is_one_line(source, tmp_path, monkeypatch):
    """It is ended, and the message says how long it was waited for."""
    monkeypatch.setattr(building, "TIMEOUT_S", 0.2)
    with pytest.raises(KernelError, match=r"took more than 0.2 s; its command is in .*build.log$"):
        build(recipe_of(source, compiler(tmp_path, "exec sleep 5")))


@pytest.fixture(name="_no_compilers")
def no_compilers(monkeypatch, tmp_path):
    """A machine without g++, clang++ and nvcc."""
    known = (toolchain.host_compiler, toolchain.cuda_compiler, toolchain.cuda_architectures)
    for each in known:
        each.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(toolchain.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    yield
    for each in known:
        each.cache_clear()


@pytest.mark.usefixtures("_no_compilers")
def test_a_missing_compiler_is_one_line():
    """Both commands say the same, and neither fails over it."""
    for look in (status.state_of, status.built):
        for device, words in (
            ("cpu", "not built: no C++ compiler: g++ or clang++"),
            ("cuda", "not built: no CUDA compiler"),
        ):
            state = look(device)
            assert not state.ready
            assert state.words.startswith(words)
            assert "\n" not in state.words


@pytest.mark.usefixtures("_no_compilers")
def test_nvcc_is_found_where_it_may_be(tmp_path, monkeypatch):
    """In CUDA_HOME before PATH, in PATH before the packages of pip, of those the newest."""
    places = [tmp_path / "home/bin", tmp_path, tmp_path / "nvidia/cu13/bin", tmp_path / "nvidia/cu12/bin"]
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    for folder in reversed(places):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nvcc").write_text(f"#!/bin/sh\necho release of {folder}\n")
        (folder / "nvcc").chmod(0o755)
        toolchain.cuda_compiler.cache_clear()
        assert toolchain.cuda_compiler() == Compiler(str(folder / "nvcc"), f"release of {folder}")


def test_a_backends_binding_is_built_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Its path, or the last line that it says, is what is shown."""
    (tmp_path / "builder_of_tests.py").write_text(
        textwrap.dedent("""
            import sys
            if sys.argv[1] == "cuda":
                sys.exit("no header of CUDA")
            print("chatter", file=sys.stderr)
            print("/there/binding.so")
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cpu, cuda = status.bound("builder_of_tests", ("cpu", "cuda"))
    assert (cpu.ready, cpu.words) == (True, "built: /there/binding.so")
    assert (cuda.ready, cuda.words) == (False, "not built: no header of CUDA")


def test_doctor_builds_and_says_what_it_could_not(monkeypatch):
    """Without a GPU a missing CUDA library is no problem; a missing CPU library is."""
    made = {
        "cpu": status.State("kernels for cpu", ready=False, words="not built: no C++ compiler"),
        "cuda": status.State("kernels for cuda", ready=False, words="not built: no CUDA compiler"),
    }
    monkeypatch.setattr(doctor, "built", made.__getitem__)
    monkeypatch.setattr(doctor, "state_of", made.__getitem__)
    findings, problems = doctor.examine(build=True)
    assert ("kernels for cuda", "not built: no CUDA compiler") in findings
    expected = [f"{state.name}: {state.words}" for state in made.values()]
    assert [line for line in problems if line in expected] == (expected if doctor.machine().gpus else expected[:1])
    assert not set(expected) & set(doctor.examine()[1])


def test_the_wheel_ships_the_sources(tmp_path):
    """All that is compiled, where an installed harness looks for it."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("harness", "backends", "kernels", "reports"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(checkout)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name.removeprefix("harness/kernels/native/") for name in archive.namelist()}
        archive.extractall(tmp_path / "site")
    here = {str(path.relative_to(ROOT / "kernels")) for path in (ROOT / "kernels").rglob("*.*")}
    assert here <= shipped
    bindings = {str(path.relative_to(ROOT)) for path in (ROOT / "backends").rglob("*.cc")}
    assert bindings <= shipped
    program = "from harness.kernels import source_root; print(source_root())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "site/harness/kernels/native")
