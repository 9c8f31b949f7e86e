"""One GPU as NVML shows it: what it counts, what it shows now, how it is set."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from harness.measure.telemetry.calls import Calls
from harness.measure.telemetry.fields import Fields
from harness.measure.telemetry.query import LostError, Query, Way

KIB = 1024
FIELDS = {
    "power_instant": "NVML_FI_DEV_POWER_INSTANT",
    "power_average": "NVML_FI_DEV_POWER_AVERAGE",
    "memory_temperature": "NVML_FI_DEV_MEMORY_TEMP",
    "pcie_sent": "NVML_FI_DEV_PCIE_COUNT_TX_BYTES",
    "pcie_received": "NVML_FI_DEV_PCIE_COUNT_RX_BYTES",
    "nvlink_sent": "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX",
    "nvlink_received": "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX",
}
"""Field values of each sample."""
ERRORS = {
    "ecc_corrected": "NVML_FI_DEV_ECC_SBE_VOL_TOTAL",
    "ecc_uncorrected": "NVML_FI_DEV_ECC_DBE_VOL_TOTAL",
}
"""Field values of a trial's begin and its end."""
COMPUTE, GRAPHICS = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"
SHOWN = ("power", "sm_clock", "memory_clock", "reasons", "temperature", "utilization", "memory")
"""Queries of each sample, besides its fields."""


class Gpu:
    """One device: what it counts, what it shows now, how it is set."""

    def __init__(self, nvml: ModuleType, library: ctypes.CDLL, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle
        self.calls = Calls(nvml, library, handle)
        self.uuid, self.name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.lost: str | None = None
        self.fields, self.error_fields = Fields(self.calls, FIELDS), Fields(self.calls, ERRORS)
        self.queries = self.live_queries()
        self.energy = self.queries["energy"].read
        self.shown = [self.queries[name].read for name in SHOWN]
        self.settings = self.setting_queries()
        self.errors = {
            name: self.query([self.error_fields.way(name), *self.ways("nvmlDeviceGetTotalEccErrors", kind, 0)])
            for kind, name in enumerate(ERRORS)
        }

    def live_queries(self) -> dict[str, Query]:
        """Queries of what changes all the time; all but the processes, looked at once a second, by ready calls."""
        nvml, number, member = self.nvml, self.calls.number, self.calls.member
        clock, reasons, warmth = "nvmlDeviceGetClockInfo", "nvmlDeviceGetCurrentClocks", "nvmlDeviceGetTemperature"
        load, used = "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo"
        core = nvml.NVML_TEMPERATURE_GPU
        ways: dict[str, Sequence[Way]] = {
            "energy": number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong),
            "fields": self.fields.query(),
            "error_fields": self.error_fields.query(),
            "power": [
                *(self.fields.way(name) for name in ("power_instant", "power_average")),
                *number("nvmlDeviceGetPowerUsage", ctypes.c_uint),
            ],
            "sm_clock": number(clock, ctypes.c_uint, nvml.NVML_CLOCK_SM),
            "memory_clock": number(clock, ctypes.c_uint, nvml.NVML_CLOCK_MEM),
            "reasons": [
                way for kind in ("Event", "Throttle") for way in number(f"{reasons}{kind}Reasons", ctypes.c_ulonglong)
            ],
            "temperature": [
                *member(
                    f"{warmth}V", "c_nvmlTemperature_v1_t", "temperature", version="nvmlTemperature_v1", sensorType=core
                ),
                *number(warmth, ctypes.c_uint, core),
            ],
            "utilization": member(load, "c_nvmlUtilization_t", "gpu"),
            # Version 2 leaves out what the driver keeps for itself; the older call counts it in.
            "memory": [
                *member(f"{used}_v2", "c_nvmlMemory_v2_t", "used", version="nvmlMemory_v2"),
                *member(used, "c_nvmlMemory_t", "used"),
            ],
            # By version: the binding refuses the names without one, by an error of its own, where they do not fit.
            "processes": self.ways(f"{COMPUTE}_v3") + self.ways(f"{COMPUTE}_v2"),
            "graphics": self.ways(f"{GRAPHICS}_v3") + self.ways(f"{GRAPHICS}_v2"),
        }
        return {name: self.query(each) for name, each in ways.items()}

    def setting_queries(self) -> dict[str, Query]:
        """Queries of what somebody must change."""
        nvml = self.nvml
        ways = {
            "power_limit_mw": self.ways("nvmlDeviceGetEnforcedPowerLimit"),
            "max_sm_mhz": self.ways("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            "max_memory_mhz": self.ways("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
            "application_sm_mhz": self.ways("nvmlDeviceGetApplicationsClock", nvml.NVML_CLOCK_SM),
            "application_memory_mhz": self.ways("nvmlDeviceGetApplicationsClock", nvml.NVML_CLOCK_MEM),
            "remapped": self.ways("nvmlDeviceGetRemappedRows"),
            "mig": self.ways("nvmlDeviceGetMigMode"),
            "persistence": self.ways("nvmlDeviceGetPersistenceMode"),
        }
        return {name: self.query(each) for name, each in ways.items()}

    def ways(self, function: str, *arguments: Any) -> list[Way]:
        """The way through a function of the binding; none where the binding does not have it."""
        call = getattr(self.nvml, function, None)
        return [] if call is None else [(function, lambda: call(self.handle, *arguments))]

    def query(self, ways: Sequence[Way]) -> Query:
        """A query of this device."""
        return Query(self.nvml, ways)

    def energy_mj(self) -> int | None:
        """The energy counter in millijoules."""
        return self.guarded(self.energy)

    def sample(self, energy_mj: int | None) -> list[float | None] | None:
        """What it shows now, in the order of recording.GPU_COLUMNS; None of a lost device."""
        return self.guarded(lambda: self.row(energy_mj))

    def row(self, energy_mj: int | None) -> list[float | None]:
        """The readings of one sample.

        Raises:
            LostError: the device is gone.
        """
        self.queries["fields"].read()
        power, sm_clock, memory_clock, reasons, temperature, utilization, memory = (read() for read in self.shown)
        found = self.fields.found
        links = [found.get(name) for name in ("nvlink_sent", "nvlink_received")]
        return [
            *(energy_mj, power, sm_clock, memory_clock, reasons, temperature),
            *(found.get("memory_temperature"), utilization, memory),
            *(found.get("pcie_sent"), found.get("pcie_received")),
            *(None if value is None else value * KIB for value in links),
        ]

    def processes(self) -> dict[int, int | None] | None:
        """Bytes that each process holds on the device, by its id; None where it does not tell."""
        listed = self.guarded(self.queries["processes"].read)
        if listed is None:
            return None
        others = self.guarded(self.queries["graphics"].read) or ()
        return {int(process.pid): process.usedGpuMemory for process in (*others, *listed)}

    def state(self) -> dict[str, Any]:
        """How it is set and which errors it has counted."""
        found = self.guarded(self.read_state)
        return {"uuid": self.uuid, "lost": self.lost, **(found or {})}

    def read_state(self) -> dict[str, Any]:
        """Settings and counts.

        Raises:
            LostError: the device is gone.
        """
        self.settle()
        self.queries["error_fields"].read()
        counts = {name: query.read() for name, query in self.errors.items()}
        shown = {name: query.read() for name, query in self.settings.items()}
        rows, mig = shown.pop("remapped"), shown.pop("mig")
        return {
            **shown,
            **counts,
            "remapped_rows": None if rows is None else rows[0] + rows[1],
            "mig": None if mig is None else bool(mig[0]),
        }

    def settle(self) -> None:
        """Where the driver gives the better average of power, ask for the other one no longer.

        Raises:
            LostError: the device is gone.
        """
        for name in ("fields", "power"):
            self.queries[name].read()
        if self.queries["power"].source == FIELDS["power_instant"]:
            self.fields.forget("power_average")

    def guarded(self, read: Callable[[], Any]) -> Any | None:
        """A reading, None once the device is lost; the others go on."""
        if self.lost is not None:
            return None
        try:
            return read()
        except LostError as error:
            self.lost = str(error)
            return None

    def sources(self) -> Mapping[str, str | None]:
        """Where energy and power come from."""
        return {name: self.queries[name].source for name in ("energy", "power")}
