"""What a run's records say of a backend."""

import hashlib
from pathlib import Path

from harness.kernels.sources import source_root
from harness.measure.source_code import GitState
from harness.results.store import Store
from harness.runner import provenance
from harness.runner.prepare import make_run, prepare
from harness.runner.provenance import kernel_sources, provenance_of, shared_provenance
from harness.schema.backend import BackendInfo
from harness.schema.system import KernelSources


def test_a_record_knows_framework_and_model() -> None:
    """As the backend describes itself, so that a report needs no backend to be installed."""
    info = BackendInfo(
        name="b",
        framework="chalk",
        model="Mask R-CNN",
        phases=("infer",),
        precisions=("fp32",),
        distributions=("numpy",),
    )
    found = provenance_of(info, shared_provenance({"val": "aa"}, None, cuda=False))
    assert (found.framework, found.model, found.data_fingerprints) == ("chalk", "Mask R-CNN", {"val": "aa"})
    assert next(iter(found.packages)) == "numpy"


def test_kernels_are_known_by_source_and_compiler(monkeypatch, tmp_path) -> None:
    """The digest follows the text of any kernel; without a compiler its name is None and the digest stays."""
    before = kernel_sources(cuda=False)
    assert before.cuda_compiler is None
    monkeypatch.setenv("PATH", str(tmp_path))
    provenance.host_compiler.cache_clear()
    without = kernel_sources(cuda=False)
    provenance.host_compiler.cache_clear()
    assert without == KernelSources(sources_sha256=before.sources_sha256)
    changed = tmp_path / "kernels"
    for path in source_root().rglob("*"):
        if path.is_file() and path.suffix in {".h", ".cpp", ".cu"}:
            copy = changed / path.relative_to(source_root())
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr("harness.kernels.sources.source_root", lambda: changed)
    assert kernel_sources(cuda=False).sources_sha256 == before.sources_sha256
    first = min((changed / "cpu").glob("*.cpp"))
    first.write_bytes(first.read_bytes() + b"\n")
    after = kernel_sources(cuda=False).sources_sha256
    assert after not in {None, before.sources_sha256}
    assert len(str(after)) == len(hashlib.sha256().hexdigest())


def test_git_is_asked_once_a_run(monkeypatch, tmp_path) -> None:
    """However many backends a matrix has; each has the run's commit and a digest of its own code."""
    asked = []

    def state(root: Path) -> GitState:
        asked.append(root)
        return GitState("abc", dirty=True, diff_sha256="dd" * 32)

    monkeypatch.setattr("harness.measure.provenance.git_state", state)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    matrix = tmp_path / "two.yaml"
    matrix.write_text(
        "name: two\ndevice: cpu\ndata: {train: synthetic, val: synthetic}\n"
        "trials:\n  - {backend: demo, phase: infer}\n  - {backend: torch_maskrcnn, phase: infer}\n"
    )
    store = Store(tmp_path / "store")
    run, tasks = make_run(prepare(matrix), store)
    found = [run.provenance[task.trial.backend] for task in tasks]
    assert len(asked) == 1
    assert [(each.git_commit, each.git_diff_sha256) for each in found] == [("abc", "dd" * 32)] * 2
    assert found[0].backend_sha256 != found[1].backend_sha256
    assert {each.matrix_sha256 for each in found} == {hashlib.sha256(matrix.read_bytes()).hexdigest()}
    assert [path.read_bytes() for path in (store.folder / "matrices").iterdir()] == [matrix.read_bytes()]
