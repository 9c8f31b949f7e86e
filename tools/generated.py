"""Write what documents hold of the code: JSON schemas, the keys of a matrix, the rules of comparing.

Tests hold the committed files to the code; `make generated` writes them again.
"""

from pathlib import Path

from harness.analysis.comparable import RULES
from harness.matrix.reference import write as write_matrix
from harness.report.audit import audit_schema
from harness.report.build import report_schema
from harness.report.comparison import comparison_schema
from harness.weights.inspection import report_schema as weights_schema

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- generated: comparable -->\n", "<!-- end: comparable -->"


def main() -> None:
    """Write all of them."""
    write_matrix(DOCS)
    schemas = {"audit": audit_schema, "compare": comparison_schema, "report": report_schema, "weights": weights_schema}
    for name, schema in schemas.items():
        (DOCS / "schema" / f"{name}.json").write_text(schema(), encoding="utf-8")
    page = DOCS / "compare.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + BEGIN + rules() + END + after, encoding="utf-8")


def rules() -> str:
    """The rules of comparing as a table."""
    rows = (
        f"| `{rule.fields}` | {rule.agreement}{', on GPUs' if rule.device == 'cuda' else ''} | {rule.why} |\n"
        for rule in RULES
    )
    return "| field | | why |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    main()
