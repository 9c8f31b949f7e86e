"""Opens a file of figures by its layout."""

from pathlib import Path

from harness.analysis.audit.checking import check_sheet
from harness.analysis.audit.figures import Sheet
from harness.analysis.audit.findings import Audit
from harness.analysis.audit.published import read_published
from harness.analysis.audit.tables import read_markdown
from harness.errors import AuditError

MOST_BYTES = 8 * 2**20
READERS = {".yaml": read_published, ".yml": read_published, ".md": read_markdown, ".markdown": read_markdown}


def audit_files(paths: list[Path]) -> Audit:
    """Read and check files, each against itself.

    Raises:
        AuditError: one cannot be read, or holds no figures in a known layout.
    """
    return Audit(files=tuple(check_sheet(read_sheet(path)) for path in paths))


def read_sheet(path: Path) -> Sheet:
    """The figures of a file, known by its path as given.

    Raises:
        AuditError: it cannot be read, or holds no figures in a known layout.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise AuditError(f"{path}: unknown layout; records are read from .yaml files, tables from .md files")
    return reader(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file of UTF-8 text.

    Raises:
        AuditError: it cannot be read, is too large, or is no text.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise AuditError(f"{path}: {size} bytes; at most {MOST_BYTES} are read")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise AuditError(f"{path}: {reason}; name a file of tables or records") from error
    except UnicodeDecodeError as error:
        raise AuditError(f"{path}: byte {error.start} is not UTF-8") from error
