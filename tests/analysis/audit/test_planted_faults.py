"""Every kind of fault that is planted in a clean table is found, in its row and column, and called by its name."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from published_tables import Page, Table, decimals_of, fixed, make_records, precise_page, records_text

from harness.analysis.audit.checking import check_sheet
from harness.analysis.audit.published import read_published
from harness.analysis.audit.tables import read_markdown

SPEEDUP = "Throughput speedup (FP32 - mixed precision)"


@dataclass(frozen=True)
class Planted:
    """Where a fault was planted, and what is to be said of it."""

    table: str
    row: int
    column: str
    check: str
    verdict: str


Plant = Callable[[Page, random.Random], Planted]
PLANTS: dict[str, Plant] = {}


def plant(function: Plant) -> Plant:
    """Register a kind of fault by the name of its function."""
    PLANTS[function.__name__] = function
    return function


def nudged(text: str, units: float) -> str:
    """A printed number moved by so many units of its last digit."""
    decimals = decimals_of(text)
    return fixed(float(text) + units * 10.0**-decimals, decimals)


@plant
def wrong_speedup(page, rng):
    """A speed-up that its throughputs do not give."""
    row = rng.randrange(3)
    page.tables["wide"].scale(row, SPEEDUP, rng.uniform(1.1, 1.4))
    return Planted("wide", row, SPEEDUP, "ratio", "error")


@plant
def rounded_otherwise(page, rng):
    """A speed-up that is one unit of its last digit off."""
    row = rng.randrange(3)
    table = page.tables["wide"]
    fp32, amp = (float(table.cell(row, f"Throughput - {name}")) for name in ("FP32", "mixed precision"))
    table.write(row, SPEEDUP, nudged(fixed(amp / fp32, 3), rng.choice((-1, 1))))
    return Planted("wide", row, SPEEDUP, "ratio", "rounding")


@plant
def zeros_filled_in(page, rng):
    """A ratio rounded to one decimal and printed with three."""
    table = page.tables["wide"]
    for head, text in {
        "Throughput - FP32": "100.000",
        "Throughput - mixed precision": "163.000",
        SPEEDUP: "1.600",
    }.items():
        table.write(0, head, text)
    return Planted("wide", 0, SPEEDUP, "ratio", "rounding")


@plant
def wrong_scaling(page, rng):
    """A weak-scaling factor that is too small for its throughputs."""
    row = rng.choice((1, 2))
    page.tables["wide"].scale(row, "Weak scaling - FP32", rng.uniform(0.5, 0.9))
    return Planted("wide", row, "Weak scaling - FP32", "scaling", "error")


@plant
def wrong_efficiency(page, rng):
    """An efficiency that is another number of GPUs'."""
    page.tables["long"].scale(2, "efficiency, %", 0.5)
    return Planted("long", 2, "efficiency, %", "efficiency", "error")


@plant
def slipped_ratio(page, rng):
    """A ratio a power of ten too large."""
    row, factor = rng.randrange(3), rng.choice((10, 100))
    page.tables["wide"].scale(row, SPEEDUP, factor)
    return Planted("wide", row, SPEEDUP, "unit", "error")


@plant
def slipped_throughput(page, rng):
    """A throughput a thousand times what its latency gives: one of them is in another unit."""
    row = rng.randrange(3)
    page.tables["latency"].scale(row, "Throughput Avg", 1000)
    return Planted("latency", row, "Throughput Avg", "unit", "error")


@plant
def per_cent_for_fraction(page, rng):
    """One accuracy in per cent in a column of fractions."""
    row = rng.randrange(6)
    table = page.tables["long"]
    table.write(row, "bbox mAP", fixed(100 * float(table.cell(row, "bbox mAP")), 1))
    return Planted("long", row, "bbox mAP", "unit", "error")


@plant
def wrong_mean(page, rng):
    """A mean of seeds that is none."""
    row = rng.randrange(2)
    table = page.tables["seeds"]
    table.write(row, "Mean", nudged(table.cell(row, "Mean"), 12))
    return Planted("seeds", row, "Mean", "mean", "error")


@plant
def wrong_deviation(page, rng):
    """A deviation that neither divisor gives."""
    row = rng.randrange(2)
    table = page.tables["seeds"]
    table.write(row, "Standard Deviation", nudged(table.cell(row, "Standard Deviation"), 30))
    return Planted("seeds", row, "Standard Deviation", "deviation", "error")


@plant
def percentiles_out_of_order(page, rng):
    """A 99th percentile below the 90th."""
    row = rng.randrange(3)
    table = page.tables["latency"]
    low = float(table.cell(row, "Latency 90% (ms)"))
    table.write(row, "Latency 99% (ms)", fixed(0.97 * low, 2))
    return Planted("latency", row, "Latency 99% (ms)", "order", "error")


@plant
def average_above_percentiles(page, rng):
    """An average above the 99th percentile."""
    row = rng.randrange(3)
    table = page.tables["latency"]
    table.write(row, "Latency Avg (ms)", fixed(1.05 * float(table.cell(row, "Latency 99% (ms)")), 2))
    return Planted("latency", row, "Latency Avg (ms)", "average", "implausible")


@plant
def average_below_percentiles(page, rng):
    """An average that is less than the slowest tenth alone adds to it."""
    row = rng.randrange(3)
    table = page.tables["latency"]
    table.write(row, "Latency Avg (ms)", fixed(0.05 * float(table.cell(row, "Latency 90% (ms)")), 2))
    return Planted("latency", row, "Latency Avg (ms)", "average", "error")


@plant
def throughput_of_other_work(page, rng):
    """A throughput that its latency and batch size cannot have."""
    row = rng.randrange(3)
    page.tables["latency"].scale(row, "Throughput Avg", rng.uniform(1.3, 1.8))
    return Planted("latency", row, "Throughput Avg", "flow", "mismatch")


@plant
def above_linear(page, rng):
    """Eight GPUs with ten times the throughput of one, and a factor that fits."""
    table = page.tables["wide"]
    table.write(2, "Throughput - FP32", fixed(10 * float(table.cell(0, "Throughput - FP32")), 3))
    table.write(2, "Weak scaling - FP32", "10.000")
    return Planted("wide", 2, "Weak scaling - FP32", "superlinear", "implausible")


@plant
def above_linear_unsaid(page, rng):
    """The same in a table without a column of factors."""
    table = page.tables["wide"]
    kept = [table.column(head) for head in table.heads if not head.startswith("Weak")]
    page.tables["wide"] = Table(
        table.title, [table.heads[at] for at in kept], [[row[at] for at in kept] for row in table.rows]
    )
    page.tables["wide"].write(2, "Throughput - FP32", fixed(10 * float(table.cell(0, "Throughput - FP32")), 3))
    return Planted("wide", 2, "Throughput - FP32", "superlinear", "implausible")


@plant
def same_row_again(page, rng):
    """A row that stands in its table twice."""
    table = page.tables["long"]
    table.rows.append(list(table.rows[rng.randrange(6)]))
    return Planted("long", 6, "global batch size", "duplicate", "error")


@plant
def two_values(page, rng):
    """One configuration with two throughputs, in one table."""
    table = page.tables["latency"]
    table.rows.append(list(table.rows[0]))
    for head in table.heads[1:]:
        table.scale(3, head, 0.8 if head == "Throughput Avg" else 1.25)
    return Planted("latency", 3, "Throughput Avg", "repeated", "error")


@plant
def two_values_beside_other_memory(page, rng):
    """The same where a column that is not recognised differs as well."""
    table = page.tables["long"]
    row = rng.randrange(6)
    table.rows.append(list(table.rows[row]))
    table.write(
        6, "throughput, images/s", fixed(0.8 * float(table.cell(row, "throughput, images/s").replace(",", "")), 3)
    )
    table.write(6, "peak memory, MiB", "1")
    return Planted("long", 6, "throughput, images/s", "repeated", "error")


@plant
def two_values_in_two_tables(page, rng):
    """One configuration with two throughputs, in two tables under one heading."""
    table = page.tables["wide"]
    heads = table.heads[:3]
    rows = [row[:3] for row in table.rows]
    page.tables["again"] = Table(table.title, heads, rows)
    page.tables["again"].scale(1, "Throughput - FP32", 0.9)
    return Planted("again", 1, "Throughput - FP32", "repeated", "error")


@plant
def unequal_batches(page, rng):
    """A speed-up over a row of another batch size."""
    table = page.tables["long"]
    for row in (3, 4, 5):
        table.write(row, "batch size per GPU", "200")
        table.write(row, "global batch size", str(200 * int(table.cell(row, "GPUs"))))
    return Planted("long", rng.choice((3, 4, 5)), "speed-up vs fp32", "batch", "mismatch")


@plant
def named_another_precision(page, rng):
    """A column of weak scaling that names a precision which the table did not measure."""
    table = page.tables["wide"]
    table.heads[table.column("Weak scaling - FP32")] = "Weak scaling - TF32"
    return Planted("wide", rng.randrange(3), "Weak scaling - TF32", "precision", "mismatch")


@plant
def no_baseline(page, rng):
    """Factors of a table whose row of one GPU was cut out."""
    del page.tables["wide"].rows[0]
    return Planted("wide", rng.randrange(2), "Weak scaling - mixed precision", "baseline", "missing")


@plant
def accuracy_above_one(page, rng):
    """An AP above 1 that is no per cent either."""
    row = rng.randrange(6)
    page.tables["long"].write(row, "bbox mAP", "1.377")
    return Planted("long", row, "bbox mAP", "range", "error")


@plant
def negative_latency(page, rng):
    """A time below zero."""
    row = rng.randrange(3)
    page.tables["latency"].write(row, "Latency 90% (ms)", "-3.10")
    return Planted("latency", row, "Latency 90% (ms)", "range", "error")


@plant
def wrong_product(page, rng):
    """A global batch size that is not batch size times GPUs."""
    row = rng.randrange(6)
    table = page.tables["long"]
    table.write(row, "global batch size", str(3 + 2 * int(table.cell(row, "global batch size"))))
    return Planted("long", row, "global batch size", "product", "error")


@plant
def trained_on_other_images(page, rng):
    """A time to train in which AMP saw a third more images than FP32 did."""
    table = page.tables["long"]
    table.scale(5, "time to train, h", 1.33)
    return Planted("long", 5, "time to train, h", "time", "implausible")


@plant
def outside_its_range(page, rng):
    """A median outside the range in brackets behind it."""
    row = rng.randrange(6)
    table = page.tables["long"]
    value = float(table.cell(row, "throughput, images/s").replace(",", ""))
    text = f"{value:,.3f} ({1.02 * value:,.3f}–{1.05 * value:,.3f})"
    table.write(row, "throughput, images/s", text)
    return Planted("long", row, "throughput, images/s", "bracket", "error")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_fault_is_found(kind, seed):
    """The table, row and column of the fault are named, with what is wrong; and all other tables stay clean."""
    page = precise_page(seed)
    planted = PLANTS[kind](page, random.Random(seed))
    audit = check_sheet(read_markdown(page.text(), "page.md"))
    line = page.line(planted.table, planted.row) if planted.table != "again" else None
    found = {(each.column, each.check, each.verdict, each.line) for each in audit.findings}
    if line is None:
        assert (planted.column, planted.check, planted.verdict) in {each[:3] for each in found}
    else:
        assert (planted.column, planted.check, planted.verdict, line) in found
    assert {page.tables[planted.table].title} == {each.table.removesuffix(" (2)") for each in audit.findings}


def test_enough_kinds_of_faults_are_planted():
    """Twelve and more, and every check but that of records has one."""
    checks = {PLANTS[kind](precise_page(0), random.Random(0)).check for kind in PLANTS}
    assert len(PLANTS) >= 12
    assert len(checks) >= 18


def changed(records, number, **values):
    """Records with one of them changed."""
    return [*records[:number], {**records[number], **values}, *records[number + 1 :]]


def index_of(records, **about):
    """The first record that is so."""
    return next(at for at, record in enumerate(records) if all(record.get(key) == about[key] for key in about))


RECORD_FAULTS = {
    "ratio": ({"metric": "speedup"}, {"value": 9.87, "published_text": "9.87"}),
    "scaling": ({"metric": "weak_scaling", "gpu_count": 4}, {"value": 1.37, "published_text": "1.37"}),
    "mean": ({"statistic": "mean"}, {"value": 0.3, "published_text": "0.3000"}),
    "deviation": ({"statistic": "std"}, {"value": 0.02, "published_text": "0.0200"}),
    "order": ({"statistic": "trimmed_mean_90"}, {"value": 1e6, "published_text": "1000000.00"}),
    "transcript": ({"metric": "throughput"}, {"value": 12345.0}),
    "unit": ({"statistic": "mean"}, {"value": 37.7, "published_text": "37.70"}),
    "range": ({"metric": "throughput"}, {"value": -1.0, "published_text": "-1.0"}),
}


@pytest.mark.parametrize("check", RECORD_FAULTS)
def test_a_planted_fault_in_records_is_found(check):
    """A record that was changed is named by its table, line and metric."""
    which, change = RECORD_FAULTS[check]
    records = make_records(3)
    number = index_of(records, **which)
    record = records[number]
    audit = check_sheet(read_published(records_text(changed(records, number, **change)), "records.yaml"))
    column = " ".join(word for word in (record["metric"], record.get("statistic")) if word)
    assert (column, record["line"], check) in {(each.column, each.line, each.check) for each in audit.findings}
    assert {f"made_up: {record['table']}"} == {each.table for each in audit.findings}


def test_a_record_that_stands_twice_is_found():
    """The same record again is a duplicate, and no second value."""
    records = make_records(3)
    audit = check_sheet(read_published(records_text([*records, records[4]]), "records.yaml"))
    assert [("duplicate", records[4]["line"])] == [(each.check, each.line) for each in audit.findings]
