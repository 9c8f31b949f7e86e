"""What it costs, once a run, to read what results record of machine, code, frameworks and containers, in CPU time."""

import subprocess
import sys
from statistics import median

ROUNDS = 7
BAR_MS = 150
PROGRAM = """
import sys
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from harness.measure.details import with_details
from harness.measure.machine import machine
from harness.plugins import backend_entry_points, describe_all
from harness.runner.provenance import provenance_of, shared_provenance


def cpu_ms():
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return 1000 * sum(each.ru_utime + each.ru_stime for each in used)


infos, _ = describe_all()
doors, here = backend_entry_points(), machine()
start = cpu_ms()
shared = shared_provenance({}, None, cuda=bool(here.gpus))
told = [provenance_of(infos[name], shared, doors[name].value) for name in infos]
code = cpu_ms()
with_details(here)
print(code - start, cpu_ms() - code)
"""


def main() -> None:
    """Print the medians of fresh processes, git and the compilers' answers included."""
    rows = []
    for _ in range(ROUNDS):
        said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        rows.append([float(word) for word in said.split()])
    code_ms, machine_ms = (median(column) for column in zip(*rows, strict=True))
    print(f"provenance of a run: {code_ms + machine_ms:.0f} ms CPU for all installed backends (bar: {BAR_MS} ms)")
    print(f"provenance of a run: {code_ms:.0f} ms of code and software, {machine_ms:.0f} ms of the machine (no bar)")


if __name__ == "__main__":
    main()
