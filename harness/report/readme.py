"""Marked blocks of a README that tables of a store fill, and the check that they still agree.

A block is a line `<!-- harness:begin NAME -->`, whatever it holds, and a line `<!-- harness:end NAME -->`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.tables import analyse
from harness.errors import ReportError
from harness.report.document import all_tables
from harness.report.rendering import markdown_environment
from harness.report.text import plain
from harness.report.write import write_atomically
from harness.schema.result import TrialResult

MARKER = re.compile(
    r"^[ \t]*<!--[ \t]*harness:(?P<side>begin|end)[ \t]+(?P<name>[^\s>]+)[ \t]*-->[ \t]*\r?$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One block: its name and where its body stands in the text."""

    name: str
    start: int
    stop: int


def readme_blocks(results: Sequence[TrialResult], *, legacy: bool = False) -> dict[str, str]:
    """The markdown of every block by name: summary, training, inference, …; `legacy` where asked for.

    Raises:
        ReportError: a trial ran on a simulated device or was only rehearsed; such numbers are not to be published.
    """
    analysis = analyse(results, legacy=legacy)
    if analysis.summary.fake_devices:
        named = plain(", ".join(analysis.summary.fake_devices))
        raise ReportError(f"trials on the simulated device {named}; only measurements of real devices are published")
    if analysis.summary.rehearsed:
        raise ReportError(f"{analysis.summary.rehearsed} of the trials are rehearsals; only measurements are published")
    template = markdown_environment().get_template("block.md.j2")
    return {table.name: template.render(table=table) for table in all_tables(analysis)}


def update_file(path: Path, results: Sequence[TrialResult], *, legacy: bool = False) -> None:
    """Rewrite the blocks of a README; nothing is written where nothing changes.

    Raises:
        ReportError: the file cannot be read or written, or its markers are wrong.
    """
    before = read_exactly(path)
    with naming(path):
        after = update_readme(before, readme_blocks(results, legacy=legacy))
    if after != before:
        write_atomically(path.resolve(), after)


def check_file(path: Path, results: Sequence[TrialResult], *, legacy: bool = False) -> list[str]:
    """Names of the blocks of a README that have drifted from the store.

    Raises:
        ReportError: the file cannot be read, or its markers are wrong.
    """
    text = read_exactly(path)
    with naming(path):
        return check_readme(text, readme_blocks(results, legacy=legacy))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file an error is about."""
    try:
        yield
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error


def read_exactly(path: Path) -> str:
    """The text of a file with its own line ends.

    Raises:
        ReportError: there is no such file, or it is no UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}; name a file with harness blocks") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is no UTF-8 at byte {error.start}; save it as UTF-8") from error


def update_readme(text: str, blocks: Mapping[str, str]) -> str:
    """Replace the body of every block; not a byte outside them changes.

    Raises:
        ReportError: a marker is unknown, lacks its other side, or a name has two blocks; or there is no block.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    for block in reversed(find_blocks(text, blocks)):
        text = text[: block.start] + body(blocks[block.name], end) + text[block.stop :]
    return text


def check_readme(text: str, blocks: Mapping[str, str]) -> list[str]:
    """Names of blocks whose body is not what the store gives now.

    Raises:
        ReportError: as `update_readme`.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    found = find_blocks(text, blocks)
    return [block.name for block in found if text[block.start : block.stop] != body(blocks[block.name], end)]


def body(markdown: str, end: str) -> str:
    """A block's body as it stands between the marker lines: blank lines around it, the README's own line ends."""
    return "\n".join(["", markdown.strip("\n"), "", ""]).replace("\n", end)


def find_blocks(text: str, known: Mapping[str, str]) -> list[Block]:
    """Find the blocks in order."""
    found: list[Block] = []
    opened: tuple[str, int, int] | None = None
    for line, side, name, marker in markers(text):
        if name not in known:
            raise ReportError(f"line {line}: block {name!r}; it must be one of {', '.join(known)}")
        if side == "begin":
            if opened:
                raise ReportError(f"line {line}: block {name!r} begins inside {opened[0]!r}, which has no end marker")
            if any(block.name == name for block in found):
                raise ReportError(f"line {line}: a second block {name!r}; a name has one block")
            opened = (name, marker.end() + 1, line)
        elif opened is None or opened[0] != name:
            raise ReportError(f"line {line}: block {name!r} ends and did not begin; a begin marker must come first")
        else:
            found.append(Block(name, opened[1], marker.start()))
            opened = None
    if opened:
        raise ReportError(
            f"line {opened[2]}: block {opened[0]!r} has no end marker; <!-- harness:end {opened[0]} --> is needed"
        )
    if not found:
        raise ReportError("no block to fill; <!-- harness:begin NAME --> and <!-- harness:end NAME --> mark one")
    return found


def markers(text: str) -> Iterator[tuple[int, str, str, re.Match[str]]]:
    """Line number, side and name of every marker."""
    for marker in MARKER.finditer(text):
        yield text.count("\n", 0, marker.start()) + 1, marker["side"], marker["name"], marker
