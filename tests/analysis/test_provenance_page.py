"""docs/provenance.md and the records cannot drift apart."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from harness.analysis.comparable import rule_of
from harness.schema.record import Record
from harness.schema.system import Machine, Provenance

PAGE = Path(__file__).parents[2] / "docs" / "provenance.md"
ROWS = re.findall(r"^\| `([\w.]+)` \| .+ \| ([\w ]+) \|$", PAGE.read_text(), re.MULTILINE)


def leaves(record: type[Record], prefix: str) -> Iterator[str]:
    """The dotted names of all fields, those of records inside in the place of their own."""
    for name, field in record.model_fields.items():
        kinds, inner = [field.annotation], None
        while kinds:
            kind = kinds.pop()
            kinds += get_args(kind)
            inner = kind if isinstance(kind, type) and issubclass(kind, Record) else inner
        yield from leaves(inner, f"{prefix}{name}.") if inner else (f"{prefix}{name}",)


def test_every_field_is_on_the_page_in_order():
    """Each field of machine and provenance has its row, and no row is of a field that is gone."""
    assert [name for name, _ in ROWS] == [*leaves(Machine, "machine."), *leaves(Provenance, "provenance.")]


def test_the_page_says_what_comparing_asks():
    """The last column is what the rules of comparing say."""
    for name, said in ROWS:
        rule = rule_of(name)
        device = " on GPUs" if rule.device and rule.agreement != "free" else ""
        assert (name, said) == (name, f"{rule.agreement}{device}")
