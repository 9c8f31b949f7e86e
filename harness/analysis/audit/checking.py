"""All checks over all figures of a file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from harness.analysis.audit.figures import Sheet
from harness.analysis.audit.findings import FileAudit, Finding
from harness.analysis.audit.flows import check_flow, check_times
from harness.analysis.audit.judging import Judged
from harness.analysis.audit.ledger import Ledger
from harness.analysis.audit.orders import check_orders
from harness.analysis.audit.ranges import check_ranges
from harness.analysis.audit.ratios import check_products, check_ratios, check_superlinear
from harness.analysis.audit.repeats import check_repeats
from harness.analysis.audit.spreads import check_brackets, check_spreads

Check = Callable[[Ledger], Iterator[Judged]]

CHECKS: tuple[Check, ...] = (
    check_ratios,
    check_superlinear,
    check_products,
    check_spreads,
    check_brackets,
    check_orders,
    check_flow,
    check_times,
    check_ranges,
    check_repeats,
)


def check_sheet(sheet: Sheet) -> FileAudit:
    """Judge a file; findings stand in its order, those of one figure in the order of the checks."""
    ledger = Ledger(sheet.figures)
    judgements = [judgement for check in CHECKS for judgement in check(ledger)]
    counted = Counter(judgement.check for judgement in judgements)
    remarks = Counter(judgement.remark for judgement in judgements if judgement.remark)
    return FileAudit(
        file=sheet.file,
        tables=sheet.tables,
        figures=len(sheet.figures),
        checked=dict(sorted(counted.items())),
        remarks=dict(sorted(remarks.items())),
        findings=tuple(in_order(sheet, [judgement.finding for judgement in judgements if judgement.finding])),
    )


def in_order(sheet: Sheet, findings: Sequence[Finding]) -> list[Finding]:
    """Findings by table, then by line, row and column as they stand in the file."""
    places: dict[object, int] = {}
    for figure in sheet.figures:
        places.setdefault((figure.table, figure.row, figure.column, figure.line), len(places))
    return sorted(findings, key=lambda each: places[each.table, each.row, each.column, each.line])
