"""What a result depends on besides its trial."""

import importlib.metadata
import subprocess

import pytest

from harness.measure import provenance as module
from harness.measure.provenance import git_state, provenance, switches


def git(folder, *arguments):
    """Run git with a fixed identity and without the user's configuration."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_clean_checkout_gives_its_commit(checkout):
    """The commit is git's HEAD, and nothing differs."""
    assert git_state(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["a.txt", "new.py"])
def test_changed_or_new_file_is_dirty(checkout, name):
    """An edited file and an untracked one both make a checkout dirty."""
    (checkout / name).write_text("b")
    assert git_state(checkout)[1] is True


def test_surrounding_repository_is_not_ours(checkout):
    """A package installed inside somebody's repository does not take that repository's commit for its own."""
    inside = checkout / "site-packages"
    inside.mkdir()
    assert git_state(inside) == (None, None)


def test_repository_without_a_commit_is_unknown(tmp_path):
    """Before the first commit there is nothing to name."""
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == (None, None)


def test_missing_git_is_unknown(checkout, monkeypatch):
    """Where there is no git program the state is None, not a guess and no failure."""
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == (None, None)


def test_git_dir_of_a_hook_does_not_mislead(checkout, monkeypatch, tmp_path_factory):
    """GIT_DIR pointing to another repository changes nothing."""
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    expected = git_state(checkout)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state(checkout) == expected


def test_switches_are_kept_and_secrets_are_not():
    """Variables that change computation are recorded, anything else is not, and never what may be a secret."""
    kept = {
        "CUDA_VISIBLE_DEVICES": "0",
        "LD_PRELOAD": "/usr/lib/libjemalloc.so",
        "MALLOC_ARENA_MAX": "2",
        "NCCL_ALGO": "Ring",
        "NVIDIA_TF32_OVERRIDE": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TF_CONFIG": "{}",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "XLA_FLAGS": "--xla_dump_to=x",
    }
    others = {
        "HOME": "/root",
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "TF_TOKEN_app_terraform_io": "x",
        "TF_VAR_database": "x",
        "TF_CLI_CONFIG_FILE": "x",
        "TORCH_HUB_AUTH": "x",
        "MKL_LICENSE_KEY": "x",
        "MY_OMP_NUM_THREADS": "1",
    }
    assert switches({**others, **kept}) == kept


def test_provenance_names_versions_and_what_is_missing(monkeypatch):
    """Backend and host distributions are recorded by version, an absent one as not installed."""
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    found = provenance(["pluggy", "no-such-distribution"], ["harness", "run", "m.yaml"], "session", {"val": "ab"})
    assert found.packages["pluggy"] == importlib.metadata.version("pluggy")
    assert found.packages["no-such-distribution"] == "not installed"
    assert set(module.HOST_DISTRIBUTIONS) <= set(found.packages)
    assert found.environment["NCCL_DEBUG"] == "INFO"
    assert found.harness_version == importlib.metadata.version("detection-harness")
    assert (found.command, found.containment, found.data_fingerprints) == (
        ("harness", "run", "m.yaml"),
        "session",
        {"val": "ab"},
    )
