"""What the `weights` commands print."""

from harness.weights.conversion import Conversion
from harness.weights.inspection import WeightsReport
from harness.weights.shapes import Shape


def report_lines(report: WeightsReport, *, tensors: bool = False) -> list[str]:
    """The file, how it fits its model, and on request a line a tensor."""
    entry = f", entry {report.entry!r}" if report.entry else ""
    types = ", ".join(f"{count} {dtype}" for dtype, count in report.dtypes.items())
    lines = [
        f"{report.path}: {report.container}{entry}, {report.size_bytes:,} bytes",
        f"sha256 {report.sha256}",
        f"{len(report.tensors)} tensors ({types}), {report.parameters:,} parameters",
    ]
    if report.model is None:
        lines.append("no model that is known has these names")
    else:
        what = f"{report.model}, {report.part}"
        lines.append(f"{report.kind} ({what}), layout {report.layout}: {report.fits} tensors fit")
        lines += _group("missing", report.missing) + _group("left over", report.left_over)
        lines += [_reshaped(other.name, other.given, other.wanted) for other in report.reshaped]
    width = max((len(entry.name) for entry in report.tensors), default=0)
    listed = report.tensors if tensors else ()
    return lines + [f"  {entry.name:<{width}}  {entry.dtype}  {list(entry.shape)}" for entry in listed]


def conversion_lines(conversion: Conversion) -> list[str]:
    """What the source is, every name that does not fit, and what was written."""
    fit = conversion.fit
    entry = f", entry {conversion.entry!r}" if conversion.entry else ""
    wanted = len(fit.fits) + len(fit.missing) + len(fit.reshaped)
    return [
        f"{conversion.kind}, layout {conversion.source}{entry}",
        f"{len(fit.fits)} of {wanted} tensors of the {conversion.part} fit",
        *_group("missing", fit.missing),
        *_group("left over", fit.left_over),
        *(_reshaped(name, given, want) for name, (given, want) in fit.reshaped.items()),
        *([] if conversion.written is None else [f"{conversion.written}: layout {conversion.target}"]),
    ]


def _group(what: str, names: tuple[str, ...]) -> list[str]:
    return [f"{what}: {name}" for name in names]


def _reshaped(name: str, given: Shape, wanted: Shape) -> str:
    return f"of another shape: {name} {list(given)} for {list(wanted)}"
