"""`harness backends` and `harness doctor`."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.cli.common import OK, SOME_FAILED, command, print_text

if TYPE_CHECKING:
    from harness.schema.backend import BackendInfo


def add_machine(commands: Any) -> None:
    """Harness backends and doctor."""
    backends = command(commands, "backends", call_backends, "list the installed backends; broken ones are named")
    backends.add_argument("--json", action="store_true", help="as JSON")
    text = "examine this machine: devices, libraries, kernels built or not, what will be unsupported"
    doctor = command(commands, "doctor", call_doctor, text)
    doctor.add_argument("--build", action="store_true", help="build the native kernels where they are not built yet")


def call_backends(options: argparse.Namespace) -> int:
    """List the backends; exit 1 if one is broken."""
    from harness.plugins import describe_all

    infos, broken = describe_all()
    if options.json:
        listed = [info.model_dump(mode="json") for info in infos.values()]
        text = json.dumps({"backends": listed, "broken": [vars(backend) for backend in broken]}, indent=2)
    else:
        lines = [line for info in infos.values() for line in backend_lines(info)]
        text = "\n".join([*lines, *(f"{backend.name}: broken: {backend.reason}" for backend in broken)])
    print_text(f"{text}\n")
    return SOME_FAILED if broken else OK


def backend_lines(info: "BackendInfo") -> Iterator[str]:
    """One backend and its options."""
    kinds = (info.phases, info.precisions, info.launchers)
    yield f"{info.name}: {info.model} in {info.framework}; {'; '.join(', '.join(kind) for kind in kinds)}"
    for option in info.options:
        choices = f" {'|'.join(map(str, option.choices))}" if option.choices else ""
        yield f"    {option.name} ({option.type}{choices}, default {option.default}): {option.help}"


def call_doctor(options: argparse.Namespace) -> int:
    """Print what this machine has; exit 1 if something is broken, or was to be built and is not."""
    from harness.doctor import examine

    findings, problems = examine(build=options.build)
    width = max(len(what) for what, _ in findings)
    lines = (*(f"{what:<{width}}  {state}" for what, state in findings), *(f"problem: {each}" for each in problems))
    print_text("".join(f"{line}\n" for line in lines))
    return SOME_FAILED if problems else OK
