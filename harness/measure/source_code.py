"""Which source code ran: the commit, how files differ from it, and digests that need no repository."""

import hashlib
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

GIT_TIMEOUT_S = 20
LARGEST_BYTES = 16 << 20
"""Of a new file that is digested by its content."""
SUFFIXES = frozenset({".py", ".pyi", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".so"})


class GitState(NamedTuple):
    """The commit of a checkout, whether files differ from it, and a digest of how; None where unknown or equal."""

    commit: str | None
    dirty: bool | None
    diff_sha256: str | None = None


UNKNOWN = GitState(None, None)


def git_state(root: Path) -> GitState:
    """Return the commit checked out at `root` and how files differ from it, untracked ones included.

    Unknown where `root` is not the top of a checkout (an installed package may lie in another) or git cannot say.
    """
    if not (root / ".git").exists():
        return UNKNOWN
    status = _git(root, "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
    if status is None:
        return UNKNOWN
    head, changes = None, 0
    for line in status.decode(errors="replace").splitlines():
        if line.startswith("# branch.oid "):
            head = line.rpartition(" ")[2]
        elif not line.startswith("#"):
            changes += 1
    if head in {None, "(initial)"}:
        return UNKNOWN
    return GitState(head, changes > 0, diff_sha256(root) if changes else None)


def diff_sha256(root: Path) -> str | None:
    """Return the SHA-256 of what differs from the commit: git's binary diff, then each new file by name and content.

    Equal changes to equal commits have equal digests. A new file above `LARGEST_BYTES`, a data set perhaps, goes in by
    name and size. None where git cannot say.
    """
    # No user's setting may change the diff's text.
    plain = ("--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
    stable = ("--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers", "--unified=3", "--inter-hunk-context=0")
    changes = _git(root, "diff", *plain, *stable, "--ignore-submodules=none", "HEAD")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if changes is None or new is None:
        return None
    state = hashlib.sha256(changes)
    for name in sorted(filter(None, new.split(b"\0"))):
        state.update(b"\0" + name + b"\0" + _content(root / os.fsdecode(name)))
    return state.hexdigest()


def _content(path: Path) -> bytes:
    """What stands for a new file: its content's digest, where a link leads, its size, or that it cannot be read."""
    try:
        if path.is_symlink():
            return b"link " + os.fsencode(path.readlink())
        size = path.stat().st_size
        if not path.is_file() or size > LARGEST_BYTES:  # a nested repository is a folder
            return b"size %d" % size
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"


def _git(root: Path, *arguments: str) -> bytes | None:
    # A GIT_DIR from a hook would answer for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def module_sha256(name: str) -> str | None:
    """Return the SHA-256 of a package's or module's source files, by path and content; nothing is imported.

    Args:
        name: dotted; the package is that of its first two parts, or what is there of them. None where it is not found.
    """
    parts = name.split(".")
    spec = find_spec(parts[0])  # of a top-level name alone: a dotted one would import what is above it
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:
        return tree_sha256(Path(str(spec.origin)))
    inner = folders[0] / parts[1] if len(parts) > 1 else folders[0]
    return tree_sha256(inner if inner.is_dir() else folders[0])


def tree_sha256(top: Path) -> str | None:
    """Return the SHA-256 of the source files of a folder, or of one file; None where there is none to read."""
    paths = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.suffix in SUFFIXES)
    state = hashlib.sha256()
    try:
        for path in paths:
            state.update(path.relative_to(top).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return None
    return state.hexdigest() if paths else None
