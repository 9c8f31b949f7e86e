"""A report as files."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.analysis.tables import analyse
from harness.errors import ReportError
from harness.report.build import build_html, build_markdown
from harness.report.charts import draw_charts
from harness.schema.result import TrialResult


def write_report(results: Sequence[TrialResult], folder: Path) -> tuple[Path, ...]:
    """Write report.md, report.html and charts/*.svg; a reader sees the old file or the new one, never a part.

    Raises:
        ReportError: the folder cannot be written.
    """
    analysis, charts = analyse(results), draw_charts(results)
    files = {
        folder / "report.md": build_markdown(analysis, charts),
        folder / "report.html": build_html(analysis, charts),
        **{folder / "charts" / f"{chart.name}.svg": chart.svg for chart in charts},
    }
    for path, text in files.items():
        write_atomically(path, text)
    for stale in set((folder / "charts").glob("*.svg")) - set(files):
        stale.unlink()
    return tuple(files)


def write_atomically(path: Path, text: str) -> None:
    """Write beside the file, then rename over it.

    Raises:
        ReportError: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error
