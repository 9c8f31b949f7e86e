"""One GPU as NVML shows it: what it counts, what it shows now, how it is set."""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from harness.measure.telemetry.query import LostError, Query, Way

ALL_LINKS = 0xFFFFFFFF
"""Scope of an NVLink field: the sum over all links."""
KIB = 1024
WIDTHS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of nvmlValue_t, by nvmlValueType_t."""
FIELDS = {
    "power_instant": "NVML_FI_DEV_POWER_INSTANT",
    "power_average": "NVML_FI_DEV_POWER_AVERAGE",
    "memory_temperature": "NVML_FI_DEV_MEMORY_TEMP",
    "pcie_sent": "NVML_FI_DEV_PCIE_COUNT_TX_BYTES",
    "pcie_received": "NVML_FI_DEV_PCIE_COUNT_RX_BYTES",
    "nvlink_sent": "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX",
    "nvlink_received": "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX",
    "ecc_corrected": "NVML_FI_DEV_ECC_SBE_VOL_TOTAL",
    "ecc_uncorrected": "NVML_FI_DEV_ECC_DBE_VOL_TOTAL",
}
"""Field values that are asked for in one call."""
COMPUTE, GRAPHICS = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"


class Gpu:
    """One device: what it counts, what it shows now, how it is set."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle
        self.uuid, self.name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.lost: str | None = None
        self.wanted = {name: getattr(nvml, constant) for name, constant in FIELDS.items() if hasattr(nvml, constant)}
        self.found: dict[str, Any] = {}
        self.queries = self.live_queries()
        self.settings = self.setting_queries()
        self.errors = {
            name: self.query([(FIELDS[name], self.field(name)), *self.ways("nvmlDeviceGetTotalEccErrors", kind, 0)])
            for kind, name in enumerate(("ecc_corrected", "ecc_uncorrected"))
        }

    def live_queries(self) -> dict[str, Query]:
        """Queries of what changes all the time."""
        nvml = self.nvml
        events = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        warmth = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
        ways: dict[str, Sequence[Way]] = {
            "energy": self.ways("nvmlDeviceGetTotalEnergyConsumption"),
            "fields": [("nvmlDeviceGetFieldValues", self.read_fields)],
            "power": [
                *((FIELDS[name], self.field(name)) for name in ("power_instant", "power_average")),
                *self.ways("nvmlDeviceGetPowerUsage"),
            ],
            "sm_clock": self.ways("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "memory_clock": self.ways("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "reasons": [way for name in events for way in self.ways(name)],
            "temperature": [way for name in warmth for way in self.ways(name, nvml.NVML_TEMPERATURE_GPU)],
            "utilization": self.ways("nvmlDeviceGetUtilizationRates"),
            "memory": [("nvmlDeviceGetMemoryInfo_v2", self.memory_v2), *self.ways("nvmlDeviceGetMemoryInfo")],
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

    def field(self, name: str) -> Callable[[], Any]:
        """The way through the fields that were read last."""
        return lambda: self.found.get(name)

    def memory_v2(self) -> Any:
        """Memory in use without what the driver keeps for itself, which the older call counts in."""
        return self.nvml.nvmlDeviceGetMemoryInfo(self.handle, self.nvml.nvmlMemory_v2)

    def read_fields(self) -> dict[str, Any]:
        """Ask for all fields that were not refused before, in one call."""
        asked = list(self.wanted)
        scopes = [(self.wanted[name], ALL_LINKS if name.startswith("nvlink") else 0) for name in asked]
        values = self.nvml.nvmlDeviceGetFieldValues(self.handle, scopes) if asked else ()
        self.found = {}
        for name, value in zip(asked, values, strict=True):
            if value.nvmlReturn == self.nvml.NVML_SUCCESS:
                self.found[name] = getattr(value.value, WIDTHS[value.valueType])
            elif value.nvmlReturn == self.nvml.NVML_ERROR_GPU_IS_LOST:
                raise self.nvml.NVMLError(value.nvmlReturn)
            else:
                del self.wanted[name]
        return self.found

    def energy_mj(self) -> int | None:
        """The energy counter in millijoules."""
        return self.guarded(self.queries["energy"].read)

    def sample(self, energy_mj: int | None) -> list[float | None] | None:
        """What it shows now, in the order of recording.GPU_COLUMNS; None of a lost device."""
        return self.guarded(lambda: self.row(energy_mj))

    def row(self, energy_mj: int | None) -> list[float | None]:
        """The readings of one sample.

        Raises:
            LostError: the device is gone.
        """
        self.queries["fields"].read()
        shown = {name: self.queries[name].read() for name in ("utilization", "memory")}
        links = [self.found.get(name) for name in ("nvlink_sent", "nvlink_received")]
        return [
            energy_mj,
            *(self.queries[name].read() for name in ("power", "sm_clock", "memory_clock", "reasons", "temperature")),
            self.found.get("memory_temperature"),
            None if shown["utilization"] is None else shown["utilization"].gpu,
            None if shown["memory"] is None else shown["memory"].used,
            self.found.get("pcie_sent"),
            self.found.get("pcie_received"),
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
        self.queries["fields"].read()
        counts = {name: query.read() for name, query in self.errors.items()}
        shown = {name: query.read() for name, query in self.settings.items()}
        rows, mig = shown.pop("remapped"), shown.pop("mig")
        return {
            **shown,
            **counts,
            "remapped_rows": None if rows is None else rows[0] + rows[1],
            "mig": None if mig is None else bool(mig[0]),
        }

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
