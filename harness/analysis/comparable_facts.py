"""The fields of a result that comparing asks for, flat and as text, and how those of two groups differ."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.analysis.comparable import Rule, rule_of
from harness.analysis.compare_rows import Difference, Standing
from harness.analysis.points import OF_TRAINING, REPLICATION, WITHOUT_EFFECT, as_text
from harness.schema.result import TrialResult

UNSET, NO_LIMIT, HERE = "unset", "no limit", "measured here"
NULL_MEANS = {"machine.container.cpu_quota": NO_LIMIT, "machine.container.memory_limit_bytes": NO_LIMIT}
"""Fields that are null where something is known not to be there."""
SHOWN = 3
"""Values of a side that are listed; more are counted."""
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b")
Facts = dict[str, str | None]


def facts(result: TrialResult) -> Facts:
    """Every field that comparing asks for, as text; None where it is unknown."""
    found: Facts = {**trial_facts(result), **machine_facts(result), **provenance_facts(result)}
    found |= {f"settings.{name}": value for name, value in result.settings.items()}
    found |= {f"weights_read.{name}": value for name, value in result.weights_read.items()}
    found |= {"device_name": result.device_name, "matrix_name": result.matrix_name}
    found["accuracy.scorer"] = ", ".join(sorted({each.scorer for each in result.accuracy})) or None
    source = result.imported
    found["imported.format"] = source.format if source else HERE
    found["imported.timed_by"] = source.timed_by if source else HERE
    return {name: value for name, value in found.items() if asked(rule_of(name), result)}


def asked(rule: Rule, result: TrialResult) -> bool:
    """Whether a rule says anything about a result."""
    return rule.agreement != "free" and rule.device in {None, result.trial.device}


def trial_facts(result: TrialResult) -> dict[str, str]:
    """The settings of a trial that its phase reads; one that is not set says so."""
    unread = {} if result.trial.phase == "train" else OF_TRAINING
    kept_out = REPLICATION - {"seed"} | WITHOUT_EFFECT
    dumped = result.trial.model_dump(exclude={**dict.fromkeys(kept_out, True), **unread})
    return {name: UNSET if value is None else value for name, value in spelled("trial", dumped)}


def machine_facts(result: TrialResult) -> Facts:
    """The machine, and what telemetry says of its GPUs."""
    seen = result.telemetry.gpus if result.telemetry else ()
    limits = [gpu.model_dump(include={"power_limit_w", "mig"}) for gpu in seen]
    return {**dict(spelled("machine", result.machine.model_dump())), **dict(spelled("telemetry.gpus", limits))}


def provenance_facts(result: TrialResult) -> Facts:
    """What a result depends on besides its trial; of data, what the trial reads."""
    if result.provenance is None:
        return {}
    found = dict(spelled("provenance", result.provenance.model_dump(exclude={"data_fingerprints"})))
    prints, data = result.provenance.data_fingerprints, result.trial.data
    roles = {"train": data.train, "val": data.val} if result.trial.phase == "train" else {"val": data.val}
    return found | {f"provenance.data_fingerprints.{role}": prints.get(name) for role, name in roles.items()}


def spelled(name: str, value: Any) -> Iterable[tuple[str, str | None]]:
    """Dotted names and texts of a nested value; of a list of records, each field with how often it has which value."""
    if isinstance(value, Mapping):
        for inner, inner_value in value.items():
            yield from spelled(f"{name}.{inner}", inner_value)
    elif isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value):
        for inner in dict.fromkeys(key for each in value for key in each):
            yield f"{name}.{inner}", tallied([each.get(inner) for each in value])
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(as_text, value))
    else:
        yield name, NULL_MEANS.get(name) if value is None else as_text(value)


def tallied(values: Sequence[Any]) -> str | None:
    """Values of equal things with their number: 8 × NVIDIA A100; None where none is known."""
    counts = Counter(as_text(value) for value in values if value is not None)
    return ", ".join(f"{number} × {value}" for value, number in sorted(counts.items())) or None


def differences(base: Sequence[Facts], other: Sequence[Facts], on_purpose: Collection[str]) -> tuple[Difference, ...]:
    """Every field in which two groups of results differ; `on_purpose` are the declared ones."""
    names = dict.fromkeys(name for side in (base, other) for each in side for name in each)
    found = (difference(name, known(base, name), known(other, name), name in on_purpose) for name in names)
    return tuple(each for each in found if each is not None)


def known(side: Sequence[Facts], name: str) -> list[str]:
    """The values of a field on one side, sorted; a switch that is not among known switches is unset."""
    absent = UNSET if name.startswith("provenance.environment.") else None
    values = (each.get(name, absent if "provenance.harness_version" in each else None) for each in side)
    return sorted({value for value in values if value is not None})


def difference(name: str, base: list[str], other: list[str], on_purpose: bool) -> Difference | None:
    """How a field differs, or None; values that a declared difference mixes on one side are no declaration."""
    agreement = rule_of(name).agreement
    mixed = len(base) > 1 or len(other) > 1
    if base == other and not (mixed and on_purpose and agreement == "point"):
        return None
    if not base or not other:
        one_sided = Difference(field=name, base=joined(base), other=joined(other), standing="unknown")
        return None if agreement == "noted" else one_sided
    if on_purpose:
        standing: Standing = "blocks" if mixed and agreement == "point" else "declared"
    else:
        standing = "noted" if agreement == "noted" else "blocks"
    return Difference(field=name, base=joined(base), other=joined(other), standing=standing)


def joined(values: Sequence[str]) -> str | None:
    """Several values in one text; None where there is none."""
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return "; ".join(values[:SHOWN]) + more if values else None


def in_words(found: Sequence[Difference]) -> str:
    """Fields with both values, digests by their beginning."""
    shown = (
        (each.field, *(DIGEST.sub(r"\1…", side or "unknown") for side in (each.base, each.other))) for each in found
    )
    return ", ".join(f"{field} ({base} against {other})" for field, base, other in shown)
