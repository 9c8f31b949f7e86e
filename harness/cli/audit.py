"""`harness audit`."""

import argparse
from pathlib import Path
from typing import Any

from harness.cli.common import OK, SOME_FAILED, command, print_text, write_text


def add_audit(commands: Any) -> None:
    """Harness audit."""
    audit = command(commands, "audit", call_audit, "check tables of published figures against themselves")
    audit.epilog = "exit code: 0 clean, 1 findings, 2 bad input"
    text = "records of figures (.yaml) or tables (.md)"
    audit.add_argument("files", type=Path, nargs="+", metavar="FILE", help=text)
    form = audit.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "md", "json"), default="text", help="what to print (default: text)")
    form.add_argument("--json", action="store_true", help="as JSON (docs/schema/audit.json)")
    audit.add_argument("--output", type=Path, metavar="F", help="write to a file instead")


def call_audit(options: argparse.Namespace) -> int:
    """Print what was checked and found; exit 1 if anything was found."""
    from harness.analysis.audit.reading import audit_files
    from harness.report.audit import audit_json, audit_markdown, audit_text

    audit = audit_files(options.files)
    forms = {"text": audit_text, "md": audit_markdown, "json": audit_json}
    text = forms["json" if options.json else options.format](audit)
    if options.output is None:
        print_text(text)
    else:
        write_text(options.output, text)
    return OK if audit.clean else SOME_FAILED
