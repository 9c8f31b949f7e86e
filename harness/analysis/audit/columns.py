"""What the head of a column says that its cells are."""

import re
from dataclasses import dataclass, field

from harness.analysis.audit.figures import (
    ACCURACY,
    ANY,
    EFFICIENCY,
    FULL_PRECISIONS,
    GLOBAL_BATCH,
    LATENCY,
    SCALING,
    SEEDS,
    SPEEDUP,
    THROUGHPUT,
    TIME,
    TIME_SPEEDUP,
    Unit,
)

EACH = "each"
"""A cell that lists the values of all seeds."""

_PRECISIONS = (
    (re.compile(r"mixed[ -]precision|\bamp\b|\bfp ?16\b|\bbf16\b"), "AMP"),
    (re.compile(r"\btf ?32\b"), "TF32"),
    (re.compile(r"\bfp ?32\b"), "FP32"),
)
_ACCURACY = re.compile(r"\bm?ap(?:\d\d|s|m|l)?\b|\bar\d*\b|\baccuracy\b|\btop[ -]?[15]\b")
_NO_ACCURACY = re.compile(r"reference|difference|target")
_SCALING = re.compile(r"\b(?:weak|strong|gpu)[ -]scaling\b|\bscaling factor\b")
_BATCH = re.compile(r"\b(?:bs|batch(?: ?size)?) ?[=:]? ?(\d+)\b")
_LEGACY = re.compile(r"(?:legacy[ _])?trimmed[ _]mean[ _](\d\d)\b")
_SEED = re.compile(r"(?:final )?seed ?#? ?(\d+)")
_PERCENTILE = re.compile(r"\bp(\d{2}(?:\.\d+)?)\b|(\d{2}(?:\.\d+)?) ?%")
_RATE = re.compile(r"throughput|\bfps\b")
_COUNTED = re.compile(r"\b([a-z]+)(?: per | ?/ ?)s(?:ec(?:ond)?)?\b")
_IMAGES = frozenset(
    {"image", "images", "img", "imgs", "im", "ims", "frame", "frames", "item", "items", "example", "examples"}
)
"""What a batch counts too."""
_NO_THROUGHPUT = re.compile(
    r"(?:bit|byte|[kmgt]i?b|[kmgtp]?flop|[kmgt]?op|iteration|iter|it|step|batch|epoch)(?:s|es)?"
)
"""What is counted by the second and no throughput of a model, or of batches whose size it leaves open."""
_UNIT = re.compile(r"[,(\[] ?(ms|milliseconds|sec(?:onds)?|s|hours|hrs|h|minutes|min) ?[)\]]?$")
_UNITS: dict[str, Unit] = {"m": "ms", "s": "s", "h": "hours"}

_OF_SEEDS = {
    **dict.fromkeys(("each trial", "each seed"), EACH),
    **dict.fromkeys(("mean", "average"), "mean"),
    **dict.fromkeys(("std", "sd", "standard deviation", "std dev"), "std"),
}

IDENTITIES = {
    "gpus": re.compile(r"(?:number of |no\. of |# ?)?(?:gpus?|ranks?|devices)"),
    "nodes": re.compile(r"(?:number of |# ?)?nodes"),
    "batch": re.compile(r"(?:local )?batch ?size(?: ?/ ?gpu| \(per (?:gpu|rank)\)| per (?:gpu|rank|device))?"),
    "precision": re.compile(r"(?:training |model )?precision"),
    "xla": re.compile(r"xla"),
}
STRICT = frozenset(
    {"backend", "framework", "system", "model", "hardware", "gpu", "device", "phase", "mode", "image size"}
)
"""Words that say what was measured: two sides of a ratio agree in them. Any other text tells rows apart, no more."""


@dataclass(frozen=True, slots=True)
class Head:
    """A column: `measure` is None where its cells are part of what was measured, under `name`."""

    title: str
    name: str
    measure: str | None = None
    statistic: str = "value"
    unit: Unit | None = None
    """None where the head does not say."""
    point: dict[str, str] = field(default_factory=dict)
    """What the head says of its cells: precision."""
    against: dict[str, str] | None = None
    disclosed: bool = False


def read_head(title: str) -> Head:
    """Recognise a column; one that is not is part of what was measured."""
    words = " ".join(title.lower().replace("‑", "-").split())
    for name, pattern in IDENTITIES.items():
        if pattern.fullmatch(words):
            return Head(title, name)
    return ratio(title, words) or measured(title, words) or Head(title, words)


def ratio(title: str, words: str) -> Head | None:
    """A column that was computed from two others."""
    named = precisions(words)
    point = point_of(words)
    if re.search(r"speed-? ?up", words):
        # No column of latencies is sure to be of the work that a ratio of them was made of.
        return Head(title, words, "other") if "latency" in words else speedup(title, words, named)
    if "efficiency" in words:
        unit: Unit | None = "percent" if "%" in words else None
        return Head(title, words, EFFICIENCY, unit=unit, point=point, against={"gpus": "1"})
    if _SCALING.search(words):
        unit = "percent" if "%" in words else "ratio"
        measure = EFFICIENCY if unit == "percent" else SCALING
        return Head(title, words, measure, unit=unit, point=point, against={"gpus": "1"})
    if words.startswith(("global batch", "effective batch")):
        return Head(title, words, GLOBAL_BATCH if words.startswith("global") else "other", unit="count")
    return None


def speedup(title: str, words: str, named: list[str]) -> Head:
    """A speed-up: over a named precision, by XLA, across batch sizes, or from one precision to another."""
    measure = TIME_SPEEDUP if "time" in words else SPEEDUP
    if "xla" in words:
        return Head(title, words, measure, unit="ratio", against={"xla": "no"})
    if "batch" in words:
        against = {"precision": ANY, "batch": ANY}
        return Head(title, words, measure, unit="ratio", against=against, disclosed=True)
    if re.search(r"\b(?:vs\.?|over|against)\b", words) and named:
        point = {"precision": named[0]} if len(named) > 1 else {}
        return Head(title, words, measure, unit="ratio", point=point, against={"precision": named[-1]})
    full = [each for each in named if each in FULL_PRECISIONS]
    if len(named) == 2 and len(full) == 1:
        point = {"precision": next(each for each in named if each not in full)}
        return Head(title, words, measure, unit="ratio", point=point, against={"precision": full[0]})
    return Head(title, words, measure, unit="ratio", against={"precision": ANY})


def measured(title: str, words: str) -> Head | None:
    """A column of measurements."""
    point = point_of(words)
    if statistic := statistic_of_seeds(words):
        return Head(title, words, SEEDS, statistic, None, point)
    if "latency" in words or re.match(r"p\d\d\b|legacy", words):
        return latency(title, words, point)
    found: tuple[str, str, Unit | None] | None = None
    if re.search(r"(?:training time|time to train)", words):
        found = (TIME, "single", unit_of(words))
    elif rate := unit_of_rate(words):
        found = (THROUGHPUT, "avg", rate)
    elif of_accuracy(words):
        found = (f"{ACCURACY} {without_precision(words)}", "final", "percent" if "%" in words else None)
    elif "%" in words:
        found = ("share", "value", "percent")
    return Head(title, words, *found, point) if found else None


def unit_of_rate(words: str) -> Unit | None:
    """What a rate counts: images, or what a batch has another number of (tokens, audio samples); None of no rate."""
    counted = _COUNTED.search(words)
    if counted is None:
        return "images/s" if _RATE.search(words) else None
    if counted[1] in _IMAGES:
        return "images/s"
    return None if _NO_THROUGHPUT.fullmatch(counted[1]) and not _RATE.search(words) else "other"


def point_of(words: str) -> dict[str, str]:
    """What a head says of all its cells: a precision, a batch size in brackets."""
    named, batch = precisions(words), _BATCH.search(words)
    return ({"precision": named[0]} if len(named) == 1 else {}) | ({"batch": batch[1]} if batch else {})


def of_accuracy(words: str) -> bool:
    """Whether a text names an average precision or recall."""
    return _ACCURACY.search(words) is not None and not _NO_ACCURACY.search(words)


def statistic_of_seeds(words: str) -> str | None:
    """One seed, all of them in a cell, or what was computed of them."""
    if seed := _SEED.fullmatch(words):
        return f"seed{seed[1]}"
    return _OF_SEEDS.get(words.replace(".", ""))


def latency(title: str, words: str, point: dict[str, str]) -> Head:
    """A latency: average, percentile, or the mean of the fastest; other statistics of it are checked for sign alone."""
    if trimmed := _LEGACY.search(words):
        return Head(title, words, LATENCY, f"trimmed_mean_{trimmed[1]}", unit_of(words), point)
    if "ucl" in words or "confidence" in words or "with warm" in words:
        return Head(title, words, LATENCY, words, unit_of(words), point)
    found = _PERCENTILE.search(words)
    statistic = f"p{found[1] or found[2]}" if found else "avg" if re.search(r"avg|average|mean", words) else "value"
    return Head(title, words, LATENCY, statistic, unit_of(words), point)


def unit_of(words: str) -> Unit | None:
    """The unit of time that a head ends with."""
    found = _UNIT.search(words)
    if not found:
        return None
    return "ms" if found[1] in ("ms", "milliseconds") else "minutes" if found[1][0] == "m" else _UNITS[found[1][0]]


def precisions(words: str) -> list[str]:
    """The precisions that a text names, in its order."""
    found = [(match.start(), name) for pattern, name in _PRECISIONS for match in pattern.finditer(words.lower())]
    return [name for _, name in sorted(found)]


def without_precision(words: str) -> str:
    """A head without the precision that it names: two such columns are of one measure."""
    for pattern, _ in _PRECISIONS:
        words = pattern.sub("", words)
    return " ".join(words.replace(" - ", " ").split()).strip(" -,")
