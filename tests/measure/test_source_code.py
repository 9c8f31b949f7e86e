"""Which source code ran: commits, differences from them, digests."""

import subprocess
import sys

import pytest

from harness.measure import source_code
from harness.measure.source_code import diff_sha256, git_state, module_sha256, tree_sha256

HEX = 64


def git(folder, *arguments):
    """Run git with a fixed identity and without the user's configuration."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_clean_checkout_gives_its_commit(checkout):
    """The commit is git's HEAD and there is no difference to digest; what is ignored does not count."""
    (checkout / "x.log").write_text("noise")
    assert git_state(checkout) == (git(checkout, "rev-parse", "HEAD"), False, None)


@pytest.mark.parametrize("name", ["a.txt", "new.py"])
def test_changed_or_new_file_is_dirty(checkout, name):
    """An edited file and an untracked one both make a checkout dirty."""
    (checkout / name).write_text("b")
    state = git_state(checkout)
    assert state.dirty is True
    assert len(state.diff_sha256) == HEX


def test_equal_changes_have_equal_digests(checkout):
    """The digest follows content, staged or not, of tracked and of new files, and comes back with the content."""
    seen = set()
    for name, text in (("a.txt", "b"), ("a.txt", "c"), ("new.py", "b"), ("new.py", "c"), ("other.py", "c")):
        (checkout / name).write_text(text)
        seen.add(diff_sha256(checkout))
    assert len(seen) == 5
    (checkout / "new.py").unlink()
    (checkout / "other.py").unlink()
    unstaged = diff_sha256(checkout)
    git(checkout, "add", "a.txt")
    assert diff_sha256(checkout) == unstaged
    assert unstaged in seen


def test_users_settings_do_not_change_the_digest(checkout):
    """Another diff algorithm, colours, prefixes and an external diff make no other digest."""
    (checkout / "a.txt").write_text("b\n" * 9)
    before = diff_sha256(checkout)
    for name, value in {
        "diff.algorithm": "patience",
        "color.ui": "always",
        "diff.noprefix": "true",
        "diff.external": "false",
        "diff.context": "9",
    }.items():
        git(checkout, "config", name, value)
    assert diff_sha256(checkout) == before


def test_large_new_files_count_by_size(checkout, monkeypatch):
    """A data set that lies in the checkout is not read through; links lead where they lead, and are not followed."""
    monkeypatch.setattr(source_code, "LARGEST_BYTES", 8)
    (checkout / "big.bin").write_bytes(b"0" * 9)
    first = diff_sha256(checkout)
    (checkout / "big.bin").write_bytes(b"1" * 9)
    assert diff_sha256(checkout) == first
    (checkout / "big.bin").write_bytes(b"1" * 10)
    assert diff_sha256(checkout) != first
    (checkout / "link").symlink_to("nowhere")
    assert len(diff_sha256(checkout)) == HEX


def test_surrounding_repository_is_not_ours(checkout):
    """A package installed inside somebody's repository does not take that repository's commit for its own."""
    inside = checkout / "site-packages"
    inside.mkdir()
    assert git_state(inside) == (None, None, None)


def test_repository_without_a_commit_is_unknown(tmp_path):
    """Before the first commit there is nothing to name."""
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == (None, None, None)


def test_missing_git_is_unknown(checkout, monkeypatch):
    """Where there is no git program the state is None, not a guess and no failure."""
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == (None, None, None)


def test_git_dir_of_a_hook_does_not_mislead(checkout, monkeypatch, tmp_path_factory):
    """GIT_DIR pointing to another repository changes nothing."""
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    expected = git_state(checkout)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state(checkout) == expected


def test_source_files_are_digested_by_place_and_content(tmp_path):
    """What Python leaves beside them does not count; a name, a folder and a byte do."""
    place = tmp_path / "package"
    (place / "inner").mkdir(parents=True)
    (place / "a.py").write_text("1")
    first = tree_sha256(place)
    (place / "a.pyc").write_text("compiled")
    assert tree_sha256(place) == first
    (place / "a.py").rename(place / "inner/a.py")
    moved = tree_sha256(place)
    (place / "inner/a.py").write_text("2")
    assert len({first, moved, tree_sha256(place)}) == 3
    assert tree_sha256(tmp_path / "absent") is None


def test_a_module_is_digested_without_being_imported(tmp_path, monkeypatch):
    """A package by its first two parts, a module by its file, and nothing that is not installed."""
    for name in ("zebra/torch_impl/plugin.py", "zebra/other/plugin.py", "zebra/__init__.py", "okapi.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    first = module_sha256("zebra.torch_impl.plugin")
    assert first == tree_sha256(tmp_path / "zebra/torch_impl")
    (tmp_path / "zebra/other/plugin.py").write_text("pass")
    assert module_sha256("zebra.torch_impl.plugin") == first
    assert module_sha256("okapi") == tree_sha256(tmp_path / "okapi.py")
    assert module_sha256("no_such_module.at_all") is None
    assert not {"zebra", "okapi"} & set(sys.modules)
