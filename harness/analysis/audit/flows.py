"""Figures that time the same work: throughput with latency, throughput with time to train."""

from collections.abc import Iterator

from harness.analysis.audit.figures import FULL_PRECISIONS, LATENCY, THROUGHPUT, TIME, Figure
from harness.analysis.audit.intervals import Interval
from harness.analysis.audit.judging import Judged, beside, cited
from harness.analysis.audit.ledger import Ledger

SERIAL = (0.9, 1.1)
"""Batches in flight where one follows another and both columns time the same loop; a tenth is left for what stands
between two batches."""
PIPELINED = (0.01, 2.2)
"""Batches in flight where the throughput has a window of its own: two at most, one on the device and one on the host;
waiting for data can leave few, but not a thousandth, as where a unit slipped."""
ALIKE = 0.1
"""How far the images of two trainings of one recipe may lie apart."""


def check_flow(ledger: Ledger) -> Iterator[Judged]:
    """Throughput × latency is the number of images in flight (Little's law); one batch of them, if nothing overlaps."""
    for latency in ledger.of(LATENCY):
        if latency.statistic != "avg" or not latency.batch or latency.interval.low <= 0:
            continue
        for throughput in ledger.find(latency, THROUGHPUT, latency.point):
            if throughput.unit == "images/s" and throughput.place == latency.place:
                yield judge_flow(throughput, latency)


def judge_flow(throughput: Figure, latency: Figure) -> Judged:
    """One row; allowed are the throughputs that go with its latency."""
    images = (latency.batch or 0) * (latency.gpus or 1)
    least, most = PIPELINED if latency.pipelined else SERIAL
    paced = Interval(float(images), float(images), float(images)) / latency.interval
    flight = throughput.printed.value * latency.printed.value * latency.scale
    detail = f"times {cited(latency)} is {flight:.3g} images in flight, where a batch is {images}"
    return beside(throughput, paced.stretched(least, most), "flow", "mismatch", detail)


def check_times(ledger: Ledger) -> Iterator[Judged]:
    """Time to train × throughput is the number of images seen; one recipe sees as many in either precision."""
    for figure in ledger.of(TIME):
        if figure.point.get("precision") in FULL_PRECISIONS or "precision" not in figure.point:
            continue
        point = {name: value for name, value in figure.point.items() if name not in ("precision", "batch")}
        for other in ledger.find(figure, TIME, point):
            if other.table == figure.table and other.point.get("precision") in FULL_PRECISIONS:
                yield from judge_times(ledger, figure, other)


def judge_times(ledger: Ledger, figure: Figure, other: Figure) -> Iterator[Judged]:
    """Two trainings, where the throughput of both is printed for the very same configuration."""
    own, others = ledger.find(figure, THROUGHPUT, figure.point), ledger.find(other, THROUGHPUT, other.point)
    if len(own) != 1 or len(others) != 1:
        return
    images = other.interval * others[0].interval
    allowed = images / own[0].interval
    rows = f"{cited(others[0])} × {cited(other)} = {images.low:.4g} to {images.high:.4g} images"
    detail = f"{rows}, at {cited(own[0])}"
    yield beside(figure, allowed.stretched(1 - ALIKE, 1 + ALIKE), "time", "implausible", detail)
