"""Clean tables of made-up figures as others publish them: every cell rounded once, from values never printed."""

import random
import statistics
from dataclasses import dataclass, field
from typing import Any

import yaml

GPUS = (1, 4, 8)


@dataclass
class Table:
    """A markdown table under a heading of its own."""

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def column(self, head: str) -> int:
        """Where a column stands."""
        return self.heads.index(head)

    def cell(self, row: int, head: str) -> str:
        """What stands in a cell."""
        return self.rows[row][self.column(head)]

    def write(self, row: int, head: str, text: str) -> None:
        """Print another text in a cell."""
        self.rows[row][self.column(head)] = text

    def scale(self, row: int, head: str, factor: float) -> None:
        """Print a number `factor` times as large, with as many decimals."""
        text = self.cell(row, head)
        self.write(row, head, fixed(float(text) * factor, decimals_of(text)))


@dataclass
class Page:
    """A page of tables."""

    tables: dict[str, Table]

    def lines(self) -> list[str]:
        """The page as lines of markdown."""
        found: list[str] = ["# Results", ""]
        for table in self.tables.values():
            found += [f"## {table.title}", "", "Measured as described above.", ""]
            found += [
                "| " + " | ".join(cells) + " |" for cells in (table.heads, ["---"] * len(table.heads), *table.rows)
            ]
            found.append("")
        return found

    def text(self) -> str:
        """The page."""
        return "\n".join(self.lines())

    def line(self, name: str, row: int) -> int:
        """The line that a row of a table stands at, counted from 1."""
        lines = self.lines()
        return lines.index(f"## {self.tables[name].title}") + 7 + row


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals."""
    return f"{value:.{decimals}f}"


def decimals_of(text: str) -> int:
    """How many decimals a printed number has."""
    return len(text.partition(".")[2])


@dataclass
class Model:
    """True values of a made-up system: what tables are printed from."""

    rng: random.Random

    def __post_init__(self) -> None:
        """Draw a machine: rates of one GPU, what scaling loses, how many decimals are printed."""
        self.base = {"FP32": self.rng.uniform(3, 900)}
        self.base["AMP"] = self.base["FP32"] * self.rng.uniform(0.8, 2.6)
        self.loss = {precision: self.rng.uniform(0.0, 0.4) for precision in self.base}
        self.rate_decimals = self.rng.choice((0, 1, 2, 3))
        self.ratio_decimals = self.rng.choice((1, 2, 3))
        self.batch = self.rng.choice((1, 2, 8, 64))

    def rate(self, precision: str, gpus: int) -> float:
        """Images/s, sublinear in the GPUs."""
        return self.base[precision] * gpus * (1 - self.loss[precision] * (1 - 1 / gpus))

    def spell(self, precision: str, gpus: int) -> str:
        """The same as printed."""
        return fixed(self.rate(precision, gpus), self.rate_decimals)

    def ratio(self, value: float) -> str:
        """A ratio as printed."""
        return fixed(value, self.ratio_decimals)

    def samples(self, count: int = 200) -> list[float]:
        """Latencies of one batch in ms, with a moderate tail."""
        middle = 1000 * self.batch / self.base["FP32"]
        return sorted(middle * self.rng.lognormvariate(0, 0.08) for _ in range(count))

    def seeds(self, count: int = 5) -> list[float]:
        """Accuracies from so many seeds."""
        return [self.rng.gauss(0.377, 0.002) for _ in range(count)]


def wide_table(model: Model) -> Table:
    """A column for each precision, as the published Mask R-CNN tables have."""
    heads = ["GPUs", "Batch size / GPU", "Throughput - FP32", "Throughput - mixed precision"]
    heads += ["Throughput speedup (FP32 - mixed precision)", "Weak scaling - FP32", "Weak scaling - mixed precision"]
    rows = []
    for gpus in GPUS:
        rates = [model.rate(precision, gpus) for precision in ("FP32", "AMP")]
        factors = [model.ratio(rate / model.base[name]) for name, rate in zip(("FP32", "AMP"), rates, strict=True)]
        cells = [str(gpus), str(model.batch), model.spell("FP32", gpus), model.spell("AMP", gpus)]
        rows.append([*cells, model.ratio(rates[1] / rates[0]), *factors])
    return Table("Training performance: wide", heads, rows)


def long_table(model: Model) -> Table:
    """A row for each precision, with times to train of one recipe, as our own tables have."""
    heads = ["backend", "GPUs", "batch size per GPU", "global batch size", "precision", "throughput, images/s"]
    heads += [
        "speed-up vs fp32",
        "weak-scaling factor T(N)/T(1)",
        "efficiency, %",
        "bbox mAP",
        "time to train, h",
        "peak memory, MiB",
    ]
    rows = []
    for precision in ("FP32", "AMP"):
        for gpus in GPUS:
            rate = model.rate(precision, gpus)
            factor = rate / model.base[precision]
            over = "baseline" if precision == "FP32" else f"{model.ratio(rate / model.rate('FP32', gpus))} (amp / fp32)"
            cells = ["made_up", str(gpus), str(model.batch), str(gpus * model.batch), precision.lower()]
            cells += [f"{rate:,.{model.rate_decimals}f}", over, model.ratio(factor), fixed(100 * factor / gpus, 1)]
            hours = fixed(1.4e6 / rate / 3600, 1 + model.ratio_decimals)
            memory = f"{model.rng.randrange(500, 90_000):,}"
            rows.append([*cells, fixed(model.rng.uniform(0.36, 0.39), 3), hours, memory])
    return Table("Training performance: long", heads, rows)


def latency_table(model: Model) -> Table:
    """Latencies of one batch after another."""
    heads = [
        "Batch size",
        "Throughput Avg",
        "Latency Avg (ms)",
        "Latency 90% (ms)",
        "Latency 95% (ms)",
        "Latency 99% (ms)",
    ]
    rows = []
    for _ in range(3):
        samples = model.samples()
        mean = statistics.fmean(samples)
        ranks = [samples[int(share * len(samples)) - 1] for share in (0.90, 0.95, 0.99)]
        rate = fixed(1000 * model.batch / mean, model.rate_decimals)
        rows.append([str(model.batch), rate, *(fixed(value, 2) for value in (mean, *ranks))])
        model.batch *= 2
    return Table("Inference performance", heads, rows)


def seed_table(model: Model) -> Table:
    """Accuracy of five seeds."""
    heads = ["Config", *(f"Seed {number}" for number in range(1, 6)), "Mean", "Standard Deviation"]
    rows = []
    for config in ("8 GPUs, AMP, final AP BBox", "8 GPUs, AMP, final AP Segm"):
        seeds = model.seeds()
        spread = model.rng.choice((statistics.stdev, statistics.pstdev))(seeds)
        cells = [fixed(value, 4) for value in (*seeds, statistics.fmean(seeds), spread)]
        rows.append([config, *cells])
    return Table("Training stability", heads, rows)


def make_page(seed: int) -> Page:
    """A clean page of four tables."""
    model = Model(random.Random(seed))
    made = {"wide": wide_table, "long": long_table, "latency": latency_table, "seeds": seed_table}
    return Page({name: make(model) for name, make in made.items()})


def precise_page(seed: int) -> Page:
    """The same, with many decimals at the inputs, so that no planted fault can hide in their rounding."""
    model = Model(random.Random(seed))
    model.rate_decimals, model.ratio_decimals = 3, 3
    made = {"wide": wide_table, "long": long_table, "latency": latency_table, "seeds": seed_table}
    return Page({name: make(model) for name, make in made.items()})


def make_records(seed: int) -> list[dict[str, Any]]:
    """The same kinds of figures as records, and trimmed means in place of percentiles."""
    model = Model(random.Random(seed))
    records: list[dict[str, Any]] = []

    def add(table: str, line: int, text: str, metric: str, unit: str, **about: Any) -> None:
        known = {"system": "made_up", "framework": "none", "hardware": "8 of nothing", "xla": False, "mode": "train"}
        value = {"metric": metric, "value": float(text), "unit": unit, "published_text": text}
        records.append({**known, **value, "table": table, "line": line, **about})

    for line, gpus in enumerate(GPUS, 10):
        at: dict[str, Any] = {"gpu_count": gpus, "batch_size_per_gpu": model.batch}
        rates = {precision: model.rate(precision, gpus) for precision in ("FP32", "AMP")}
        for precision, rate in rates.items():
            add("performance", line, model.spell(precision, gpus), "throughput", "images/s", precision=precision, **at)
            factor = model.ratio(rate / model.base[precision])
            add("performance", line, factor, "weak_scaling", "ratio", precision=precision, derived=True, **at)
        over = model.ratio(rates["AMP"] / rates["FP32"])
        add("performance", line, over, "speedup", "ratio", precision="AMP/FP32", derived=True, **at)
    for line in (30, 31):
        samples = model.samples(100)
        at = {"gpu_count": 1, "batch_size_per_gpu": model.batch, "precision": "AMP", "mode": "infer"}
        mean = statistics.fmean(samples)
        add("latency", line, fixed(1000 * model.batch / mean, model.rate_decimals), "throughput", "images/s", **at)
        add("latency", line, fixed(mean, 2), "latency", "ms", statistic="avg", **at)
        for kept in (90, 95, 99):
            text = fixed(statistics.fmean(samples[:kept]), 2)
            add("latency", line, text, "latency", "ms", statistic=f"trimmed_mean_{kept}", **at)
        model.batch *= 2
    seeds = model.seeds()
    for number, value in enumerate(seeds, 1):
        add("stability", 40, fixed(value, 4), "bbox_mAP", "AP", statistic=f"seed{number}", gpu_count=8)
    add("stability", 40, fixed(statistics.fmean(seeds), 4), "bbox_mAP", "AP", statistic="mean", gpu_count=8)
    add("stability", 40, fixed(statistics.stdev(seeds), 4), "bbox_mAP", "AP", statistic="std", gpu_count=8)
    return records


def records_text(records: list[dict[str, Any]]) -> str:
    """Records as a file holds them."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump({"meta": {"notes": ["made up"]}, "records": records}, Dumper=dumper, sort_keys=False))
