"""Which fields must agree: every field of a result has its place, and differences are found and named."""

import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import MACHINE, PROVENANCE, make_machine, make_result
from pydantic import BaseModel

from harness.analysis.comparable import RULES, covers, declared, declares, rule_of
from harness.analysis.comparable_facts import differences, facts
from harness.schema.result import Imported, TrialResult

DOCUMENT = Path(__file__).parents[2] / "docs" / "compare.md"


def leaves(model: type[BaseModel], prefix: str = "") -> dict[str, None]:
    """Dotted names of all fields of a record, those of records inside it included."""
    found: dict[str, None] = {}
    for name, field in model.model_fields.items():
        inner = [each for each in parts(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
        for each in inner:
            found |= leaves(each, f"{prefix}{name}.")
        if not inner:
            found[prefix + name] = None
    return found


def parts(annotation: Any) -> list[Any]:
    """The classes that an annotation is made of, but not the values of mappings."""
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return [part for each in get_args(annotation) for part in parts(each)]
    return [annotation]


FIELDS = tuple(leaves(TrialResult))


def placed(field: str) -> bool:
    """Whether a rule names the field, or the smallest record it is in, and not only all of a result."""
    return any(covers(rule.fields, field) for rule in RULES)


def test_every_field_of_a_result_has_its_place():
    """A new field is decided about, not overlooked."""
    assert len(FIELDS) > 100
    assert [field for field in FIELDS if not placed(field)] == []


def test_every_rule_is_about_a_field():
    """A rule for a field that is gone would be forgotten."""
    known = [*FIELDS, "provenance.data_fingerprints.val", *(f"settings.{name}" for name in ("kernels", "weights"))]
    noted = ("CUDA_VISIBLE_DEVICES", "PYTHONHASHSEED", "TF_CPP_MIN_LOG_LEVEL", "NCCL_DEBUG_FILE", "TORCH_HOME")
    known += [f"provenance.environment.{name}" for name in (*noted, "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH")]
    assert [rule.fields for rule in RULES if rule not in {rule_of(field) for field in known}] == []


@pytest.mark.parametrize(
    ("name", "agreement"),
    [
        ("TORCH_LOGS", "noted"),
        ("HOROVOD_LOG_LEVEL", "noted"),
        ("NCCL_DEBUG", "noted"),
        ("CUDA_CACHE_PATH", "noted"),
        ("CUDA_CACHE_DISABLE", "must agree"),
        ("NCCL_ALGO", "must agree"),
        ("XLA_FLAGS", "must agree"),
        ("NVIDIA_TF32_OVERRIDE", "must agree"),
    ],
)
def test_switches_that_change_no_computing_may_differ(name, agreement):
    """What is printed and where files are kept is told; what changes how frameworks compute must agree."""
    assert rule_of(f"provenance.environment.{name}").agreement == agreement


def test_an_unplaced_field_must_agree():
    """What nobody has thought about is no reason to call two results comparable."""
    assert rule_of("brand_new.field").agreement == "must agree"


def test_the_document_lists_every_rule():
    """docs/compare.md has the list as the code has it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.split("<!-- generated: comparable -->\n")[1].split("<!-- end: comparable -->")[0]
    rows = "".join(
        f"| `{rule.fields}` | {rule.agreement}{', on GPUs' if rule.device == 'cuda' else ''} | {rule.why} |\n"
        for rule in RULES
    )
    assert table == "| field | | why |\n|---|---|---|\n" + rows


CHANGES = {
    "provenance.packages.torch": {
        "provenance": PROVENANCE.model_copy(update={"packages": {"torch": "9", "numpy": "2.3.0"}})
    },
    "provenance.environment.OMP_NUM_THREADS": {"provenance": PROVENANCE.model_copy(update={"environment": {}})},
    "provenance.framework": {"provenance": PROVENANCE.model_copy(update={"framework": "torch"})},
    "machine.cpu_model": {"machine": MACHINE.model_copy(update={"cpu_model": "Other CPU"})},
    "machine.cpu_cores": {"machine": MACHINE.model_copy(update={"cpu_cores": 4})},
    "machine.kernel": {"machine": MACHINE.model_copy(update={"kernel": "6.2.0"})},
    "settings.kernels": {"settings": {"kernels": "framework"}},
    "device_name": {"device_name": "Other CPU"},
    "provenance.data_fingerprints.train": {
        "provenance": PROVENANCE.model_copy(update={"data_fingerprints": {"coco-mini/train": "ff"}})
    },
}
BASE = {
    "settings": {"kernels": "native"},
    "device_name": "Some CPU 3000",
    "provenance": PROVENANCE.model_copy(update={"framework": "none", "data_fingerprints": {"coco-mini/train": "aa"}}),
}


def differing(change: dict[str, Any], base: dict[str, Any] = BASE, across: tuple[str, ...] = ()) -> dict[str, str]:
    """How the fields of two results stand that differ in something."""
    results = [make_result(**base), make_result(**base | change)]
    sides = [facts(result) for result in results]
    fields = {field for side in sides for field in side}
    return {each.field: each.standing for each in differences([sides[0]], [sides[1]], declared(across, fields))}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_that_matters_blocks(field):
    """One field changed is one field named."""
    base = BASE | (
        {"provenance": PROVENANCE} if field.startswith("provenance.packages") or "environment" in field else {}
    )
    assert differing(CHANGES[field], base).get(field) == "blocks"


@pytest.mark.parametrize("field", CHANGES)
def test_a_declared_field_blocks_no_more(field):
    """What is compared on purpose is told as that."""
    base = BASE | (
        {"provenance": PROVENANCE} if field.startswith("provenance.packages") or "environment" in field else {}
    )
    assert differing(CHANGES[field], base, across=(field,)).get(field) == "declared"


def test_a_commit_and_a_host_may_differ():
    """Comparing two commits is what comparing is for, and equal machines have names of their own."""
    provenance = BASE["provenance"].model_copy(update={"git_commit": "ff", "harness_version": "9"})
    found = differing({"provenance": provenance, "machine": MACHINE.model_copy(update={"hostname": "node-2"})})
    assert found == {
        "provenance.git_commit": "noted",
        "provenance.harness_version": "noted",
        "machine.hostname": "noted",
    }


def test_what_one_side_does_not_tell_is_named():
    """A result without provenance is not silently the same as one with it."""
    found = differing({"provenance": None})
    assert found["provenance.packages.torch"] == "unknown"
    assert "blocks" not in found.values()


def test_gpus_matter_to_trials_on_gpus_alone():
    """Model and number of GPUs block a trial on them, and say nothing of one on the processor."""
    change = {"machine": make_machine(gpus=2, gpu_driver="580")}
    base = BASE | {"machine": make_machine(gpus=1, gpu_driver="570")}
    assert differing(change, base) == {}
    found = differing(change | {"device": "cuda"}, base | {"device": "cuda"})
    assert {"machine.gpus.name", "machine.gpu_driver"} <= {field for field, how in found.items() if how == "blocks"}


def test_what_follows_from_a_declared_setting_is_declared_with_it():
    """Another precision makes another half type; kernels that fell back are no matter of course."""
    base = BASE | {"settings": {"half": "none", "kernels": "native"}}
    change = {"precision": "amp", "settings": {"half": "bfloat16", "kernels": "framework"}}
    found = differing(change, base, across=("precision",))
    assert found == {"trial.precision": "declared", "settings.half": "declared", "settings.kernels": "blocks"}


def test_an_imported_result_is_no_measured_one():
    """Numbers that time stamps of another program give are not those of synchronised windows."""
    source = Imported(format="dllogger", file="log.json", sha256="ab" * 32, timed_by="timestamps")
    found = differing({"imported": source})
    assert found == {"imported.format": "blocks", "imported.timed_by": "blocks"}


def test_a_declaration_is_consecutive_parts_of_a_name():
    """`packages.torch` and `machine` are enough to type; half a word is not."""
    assert declares("packages.torch", "provenance.packages.torch")
    assert declares("machine", "machine.cpu_model")
    assert not declares("torch", "provenance.packages.torchvision")
    assert not declares("provenance.torch", "provenance.packages.torch")


@given(
    st.dictionaries(st.sampled_from(["a", "b.c", "settings.x"]), st.one_of(st.none(), st.text(max_size=3)), max_size=3)
)
def test_a_side_does_not_differ_from_itself(side):
    """Whatever is known and unknown."""
    assert differences([side], [side], frozenset()) == ()
