"""Runs of MLPerf's own LoadGen, with the latencies that it saw and what it made of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import mlperf_loadgen
import numpy as np

TARGETS = (50, 75, 90, 95, 97, 99)
PRINTED = (50, 90, 95, 97, 99, 99.9)


@dataclass(frozen=True)
class Run:
    """One single-stream run: its latencies in the order of time, the percentile it was to judge, and its log."""

    latencies_ns: list[int]
    target: int
    log: dict[str, object]

    def printed(self, p: float) -> int:
        """Return the percentile that LoadGen printed, in nanoseconds."""
        return int(self.log[f"result_{p:.2f}_percentile_latency_ns"])


def runs(count: int, most: int, folder: Path, seed: int) -> Iterator[Run]:
    """Run LoadGen `count` times on 1 to `most` queries, each time against a random percentile."""
    draws = np.random.default_rng(seed)
    for _ in range(count):
        yield one_run(int(draws.integers(1, most)), int(draws.choice(TARGETS)), folder, draws)


def one_run(queries: int, target: int, folder: Path, draws: np.random.Generator) -> Run:
    """Run LoadGen on that many queries, each of which takes a random time of some microseconds."""
    waits_ns = iter((draws.exponential(5_000, queries) * (draws.random(queries) < 0.5)).tolist())

    def answer(samples: list[mlperf_loadgen.QuerySample]) -> None:
        until = perf_counter_ns() + next(waits_ns)
        while perf_counter_ns() < until:
            pass
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(each.id, 0, 0) for each in samples])

    system = mlperf_loadgen.ConstructSUT(answer, lambda: None)
    library = mlperf_loadgen.ConstructQSL(16, 16, lambda _: None, lambda _: None)
    mlperf_loadgen.StartTestWithLogSettings(system, library, run_settings(queries, target), log_settings(folder))
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    return Run(traced_latencies(folder), target, detail(folder))


def run_settings(queries: int, target: int) -> mlperf_loadgen.TestSettings:
    """Settings of a single-stream run of exactly so many queries."""
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    settings.single_stream_expected_latency_ns = 10_000
    settings.single_stream_target_latency_percentile = target / 100
    return settings


def log_settings(folder: Path) -> mlperf_loadgen.LogSettings:
    """Log into the folder, the trace with every latency too."""
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = True
    return settings


def traced_latencies(folder: Path) -> list[int]:
    """Latencies from the trace, in nanoseconds."""
    lines = (folder / "mlperf_log_trace.json").read_text().splitlines()
    began = [json.loads(line.rstrip(","))["args"] for line in lines if '"name":"Sample"' in line and '"ph":"b"' in line]
    return [sample["complete_ns"] - sample["issue_start_ns"] for sample in began]


def detail(folder: Path) -> dict[str, object]:
    """Key and value of each line of the detailed log."""
    lines = (folder / "mlperf_log_detail.txt").read_text().splitlines()
    events = [json.loads(line.split(":::MLLOG ", 1)[1]) for line in lines]
    return {event["key"]: event["value"] for event in events}
