"""The one door to jinja2: what is undefined is an error, and every inserted string is escaped for its format."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.errors import ReportError
from harness.report.text import markdown

HERE = Path(__file__).resolve().parent
PLACES = (HERE / "templates", HERE.parents[1] / "reports" / "templates")
"""In an installed wheel, and in a checkout."""


def template_folder() -> Path:
    """Find the templates.

    Raises:
        ReportError: neither a wheel's nor a checkout's templates are there.
    """
    for place in PLACES:
        if place.is_dir():
            return place
    raise ReportError(f"no report templates in {PLACES[0]} or {PLACES[1]}; reinstall detection-harness")


@cache
def html_environment() -> Environment:
    """HTML: every inserted string has its markup escaped."""
    return Environment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def markdown_environment() -> Environment:
    """Markdown: what is inserted passes through the markdown escape; text of the template itself does not."""
    return Environment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  no HTML; `finalize` escapes what markdown would interpret
        finalize=markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
