"""Calls of NVML that are made ready once, on the binding's structures and a library that a test owns."""

import ctypes
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from harness.measure.telemetry.calls import Calls
from harness.measure.telemetry.fields import ALL_LINKS, Fields
from harness.measure.telemetry.query import LostError, Query

NAMES = {
    "power_instant": "NVML_FI_DEV_POWER_INSTANT",
    "nvlink_sent": "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX",
    "unheard_of": "NVML_FI_DEV_UNHEARD_OF",
}
POWER, NVLINK = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX
DONE, REFUSED, LATER = pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_DATA


class Driver:
    """Field values of a device: a code and a number for each, and a code for the call."""

    def __init__(self, **answers: tuple[int, float]) -> None:
        self.answers = {pynvml.__dict__[NAMES[name]]: answer for name, answer in answers.items()}
        self.code = DONE
        self.asked: list[dict[int, int]] = []
        self.nvmlDeviceGetFieldValues = self.answer

    def answer(self, _: object, count: ctypes.c_int, values: Any) -> int:
        slots = values._obj
        assert count.value == len(slots)
        self.asked.append({slot.fieldId: slot.scopeId for slot in slots})
        for slot in slots:
            slot.nvmlReturn, number = self.answers[slot.fieldId]
            slot.valueType, slot.value.ullVal = 3, int(number)
        return self.code

    def fields(self) -> Fields:
        return Fields(Calls(pynvml, self, None), NAMES)  # type: ignore[arg-type]


def test_fields_are_asked_for_together() -> None:
    """Links in sum; a constant that the binding does not have is not asked for, and refused like any other."""
    driver = Driver(power_instant=(DONE, 300_000), nvlink_sent=(DONE, 7))
    fields = driver.fields()
    assert fields.read() == {"power_instant": 300_000, "nvlink_sent": 7}
    assert driver.asked == [{POWER: 0, NVLINK: ALL_LINKS}]
    assert Query(pynvml, [fields.way("unheard_of"), ("other", lambda: 5)]).read() == 5


def test_a_field_that_is_refused_is_not_asked_for_again() -> None:
    """The others are; where none is left, nothing is."""
    driver = Driver(power_instant=(DONE, 300_000), nvlink_sent=(REFUSED, 0))
    fields = driver.fields()
    assert [fields.read(), fields.read()] == [{"power_instant": 300_000}] * 2
    assert [set(asked) for asked in driver.asked] == [{POWER, NVLINK}, {POWER}]
    fields.forget("power_instant")
    assert (fields.read(), len(driver.asked)) == ({}, 2)


def test_a_field_without_data_for_once_keeps_its_place() -> None:
    """Null at that moment; neither dropped nor replaced by an average that means something else."""
    driver = Driver(power_instant=(DONE, 300_000), nvlink_sent=(DONE, 7))
    fields = driver.fields()
    power = Query(pynvml, [fields.way("power_instant"), ("nvmlDeviceGetPowerUsage", lambda: 1)])
    seen = []
    for code in (LATER, DONE, LATER, DONE):
        driver.answers[POWER] = (code, 300_000)
        fields.read()
        seen.append(power.read())
    assert seen == [None, 300_000, None, 300_000]
    assert power.source == "NVML_FI_DEV_POWER_INSTANT"
    driver.answers[POWER] = (REFUSED, 0)
    fields.read()
    assert [power.read(), power.read(), power.source] == [None, None, "NVML_FI_DEV_POWER_INSTANT"]


@pytest.mark.parametrize(("code", "then"), [(LATER, 300_000), (REFUSED, None)])
def test_a_call_that_is_refused_has_no_fields_of_before(code: int, then: int | None) -> None:
    """What was read last is not read again; whether they are asked for again is the refusal's to say."""
    driver = Driver(power_instant=(DONE, 300_000), nvlink_sent=(DONE, 7))
    fields = driver.fields()
    everything, power = Query(pynvml, fields.query()), Query(pynvml, [fields.way("power_instant")])
    everything.read()
    assert power.read() == 300_000
    driver.code = code
    assert (everything.read(), power.read(), fields.found) == (None, None, {})
    driver.code = DONE
    everything.read()
    assert power.read() == then


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED])
def test_one_field_may_tell_that_the_device_is_gone(code: int) -> None:
    """Whatever the other fields say."""
    fields = Driver(power_instant=(code, 0), nvlink_sent=(REFUSED, 0)).fields()
    with pytest.raises(LostError):
        Query(pynvml, fields.query()).read()


def test_a_driver_without_field_values_refuses_them_once() -> None:
    """As one that is too old."""
    fields = Fields(Calls(pynvml, SimpleNamespace(), None), NAMES)  # type: ignore[arg-type]
    everything = Query(pynvml, fields.query())
    assert (everything.read(), everything.ways) == (None, [])


def writes(**values: int) -> Callable[..., int]:
    """A function of the library that fills the structure, or the number, that its last argument points to."""

    def call(*arguments: Any) -> int:
        for name, value in values.items():
            setattr(arguments[-1]._obj, name, value)
        return DONE

    return call


@pytest.mark.parametrize(
    ("library", "found"),
    [({"ask": writes(value=7)}, [("ask", 7)]), ({}, []), ({"ask": lambda *_: REFUSED}, [("ask", None)])],
)
def test_numbers(library: Mapping[str, Callable[..., int]], found: list[tuple[str, int | None]]) -> None:
    """By a function of the driver; no way where it does not have it, and none any longer where it refuses."""
    ways = Calls(pynvml, SimpleNamespace(**library), None).number("ask", ctypes.c_uint, 1)  # type: ignore[arg-type]
    assert [(name, Query(pynvml, [(name, way)]).read()) for name, way in ways] == found


def test_members_of_structures() -> None:
    """Filled in before as the driver wants it; a structure that the binding does not know is no way."""
    seen: list[int] = []

    def call(_: object, answer: Any) -> int:
        seen.append(answer._obj.version)
        return writes(used=9)(answer)

    calls = Calls(pynvml, SimpleNamespace(ask=call), None)  # type: ignore[arg-type]
    ((_, way),) = calls.member("ask", "c_nvmlMemory_v2_t", "used", version="nvmlMemory_v2")
    assert (way(), seen) == (9, [pynvml.nvmlMemory_v2])
    assert calls.member("ask", "c_nvmlUnheardOf_t", "used") == []
