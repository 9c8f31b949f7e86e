"""The command line: parse, call, print, exit code. Each command imports what it needs when it runs."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every known error is one line on standard error."""
    options = parser().parse_args(arguments)
    from harness.errors import HarnessError

    try:
        return int(options.call(options))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("harness: interrupted; run the same command again to go on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does: nothing more to say, to anyone.
        sys.stderr.close()
        return OK


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with the code of bad input."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = OneLineParser(prog="harness", description="Benchmarks detection models across frameworks, honestly.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_run(commands)
    add_plan(commands)
    add_report(commands)
    add_show(commands)
    add_small(commands)
    add_data(commands)
    add_weights(commands)
    return top


def command(commands: Any, name: str, call: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add one command."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(call=call)
    return added


def add_run(commands: Any) -> None:
    """Harness run."""
    run = command(commands, "run", call_run, "run what a matrix asks for and the results do not have yet")
    run.add_argument("matrix", type=Path, metavar="MATRIX", help="the matrix file")
    run.add_argument("--results", type=Path, metavar="DIR", help="the store (default: results/NAME of the matrix)")
    run.add_argument("--only", metavar="EXPR", help="only these points, as in: phase=infer batch_size_per_gpu=1,2")
    add_rehearse(run)
    run.add_argument("--fresh", action="store_true", help="run recorded points again; their old records are kept aside")
    run.add_argument("--retry", action="store_true", help="run points again that failed, crashed or timed out")
    run.add_argument("--timeout", type=positive, metavar="S", help="seconds for each trial, whatever the matrix says")


def add_rehearse(parser: argparse.ArgumentParser) -> None:
    """The option of run and plan."""
    text = "small stand-ins on the CPU for every point: shows that all of it works here, and measures nothing"
    parser.add_argument("--rehearse", action="store_true", help=text)


def add_plan(commands: Any) -> None:
    """Harness plan."""
    plan = command(commands, "plan", call_plan, "show every point of a matrix: what will run, what will not, and why")
    plan.add_argument("matrix", type=Path, metavar="MATRIX", help="the matrix file")
    plan.add_argument("--results", type=Path, metavar="DIR", help="the store that durations are estimated from")
    plan.add_argument("--only", metavar="EXPR", help="only these points")
    add_rehearse(plan)
    plan.add_argument("--json", action="store_true", help="as JSON (docs/schema/plan.json)")


def add_report(commands: Any) -> None:
    """Harness report."""
    report = command(commands, "report", call_report, "make tables and charts from results")
    report.add_argument("results", type=Path, metavar="DIR", help="the store")
    report.add_argument("--format", choices=("md", "html", "csv", "json"), help="print one format (default: md)")
    report.add_argument("--output", type=Path, metavar="F", help="write that format to a file instead")
    report.add_argument("--update", type=Path, metavar="README", help="rewrite the marked blocks of this file")
    report.add_argument(
        "--check", type=Path, metavar="README", help="exit 1 if marked blocks of this file have drifted"
    )


def add_show(commands: Any) -> None:
    """Harness show."""
    show = command(commands, "show", call_show, "show one trial in full, or list a store's trials")
    show.add_argument("results", type=Path, metavar="DIR", help="the store")
    show.add_argument("trial", nargs="?", metavar="TRIAL", help="a trial's name, or the beginning or end of one")


def add_small(commands: Any) -> None:
    """Harness backends and doctor."""
    backends = command(commands, "backends", call_backends, "list the installed backends; broken ones are named")
    backends.add_argument("--json", action="store_true", help="as JSON")
    text = "examine this machine: devices, libraries, kernels built or not, what will be unsupported"
    doctor = command(commands, "doctor", call_doctor, text)
    doctor.add_argument("--build", action="store_true", help="build the native kernels where they are not built yet")


def add_data(commands: Any) -> None:
    """Harness data make, check and convert."""
    data = commands.add_parser("data", help="generate, check and convert COCO-format data")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    make = command(actions, "make", call_data_make, "generate a coco-mini set")
    make.add_argument("folder", type=Path, metavar="DIR", help="where to write it; must not exist")
    make.add_argument("--images", type=int, default=64, metavar="N", help="how many images (default: %(default)s)")
    make.add_argument(
        "--size", type=int, metavar="PX", default=640, help="longer side in pixels (default: %(default)s)"
    )
    make.add_argument("--split", choices=("train", "val"), default="train", help="no image of one is in the other")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed makes the same bytes")
    make.add_argument("--faults", action="store_true", help="also plant a truncated and a missing image")
    check = command(actions, "check", call_data_check, "name every fault of a COCO-format set by file and id")
    check.add_argument("set", metavar="SET", help="a path of a COCO-format set, or a name such as coco-mini/val")
    check.add_argument("--no-decode", action="store_true", help="do not open the images")
    convert = command(actions, "convert", call_data_convert, "write a COCO-format set as TFRecord files")
    convert.add_argument("set", metavar="SRC", help="a path of a COCO-format set, or a name such as coco-mini/val")
    convert.add_argument("folder", type=Path, metavar="DST", help="where to write; must not exist")
    convert.add_argument("--shards", type=int, metavar="N", help="how many files (default: 256, or 32 of a val set)")
    convert.add_argument(
        "--split", choices=("train", "val"), help="what the files are named after (default: val if SRC's name has it)"
    )
    convert.add_argument(
        "--masks", action=argparse.BooleanOptionalAction, default=True, help="with masks, one PNG an object, or without"
    )


def add_weights(commands: Any) -> None:
    """Harness weights convert and inspect."""
    weights = commands.add_parser("weights", help="convert weights between frameworks, and say what a file holds")
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    convert = command(actions, "convert", call_weights_convert, "write weights in a framework's layout")
    convert.add_argument("source", type=Path, metavar="SRC", help="safetensors, or a state dict of torch.save")
    convert.add_argument("target", type=Path, metavar="DST", help="the safetensors file to write")
    convert.add_argument("--to", choices=("torch", "tf"), required=True, help="whose order of dimensions")
    convert.add_argument("--part", choices=("model", "trunk"), help="what to write (default: what the file holds)")
    convert.add_argument("--partial", action="store_true", help="write what fits even if something is missing")
    inspect = command(actions, "inspect", call_weights_inspect, "say what a file of weights holds and what it fits")
    inspect.add_argument("weights", type=Path, metavar="W", help="safetensors, or a state dict of torch.save")
    inspect.add_argument("--tensors", action="store_true", help="also list every tensor")
    inspect.add_argument("--json", action="store_true", help="as JSON (docs/schema/weights.json)")


def positive(text: str) -> float:
    """A number of seconds above zero."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def call_run(options: argparse.Namespace) -> int:
    """Run a matrix and write its report."""
    from harness.report.write import write_report
    from harness.results.store import Store
    from harness.runner.prepare import make_run, prepare
    from harness.schema.result import BAD_OUTCOMES, OUTCOME_KINDS

    signal.signal(signal.SIGTERM, interrupt)
    prepared = prepare(options.matrix, options.only, options.timeout, rehearse=options.rehearse)
    store = Store(options.results or Path("results") / prepared.name)
    run, tasks = make_run(prepared, store)
    redo = frozenset(OUTCOME_KINDS) if options.fresh else BAD_OUTCOMES if options.retry else frozenset()
    counts = run.carry_out(tasks, redo)
    written = write_report(store.load_all(), store.folder)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    for path in written:
        print(path)
    return SOME_FAILED if BAD_OUTCOMES & counts.keys() else OK


def interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def call_plan(options: argparse.Namespace) -> int:
    """Print every point."""
    from harness.matrix.listing import plan_json, plan_table
    from harness.matrix.weights import check_weights
    from harness.results.store import Store
    from harness.runner.prepare import known_estimates, prepare

    prepared = prepare(options.matrix, options.only, rehearse=options.rehearse)
    store = Store(options.results or Path("results") / prepared.name)
    check_weights(prepared.plan, store.weights_names())
    estimates = known_estimates(store)
    seconds = {point.trial.trial_id: estimates.of(point.trial) for point in prepared.plan.points if point.runs}
    known = {trial_id: value for trial_id, value in seconds.items() if value is not None}
    print(plan_json(prepared.plan, known) if options.json else "\n".join(plan_table(prepared.plan, known)))
    return OK


def call_report(options: argparse.Namespace) -> int:
    """Make one report, or compare or rewrite the blocks of a README."""
    from harness.report.build import build
    from harness.report.readme import check_file, update_file
    from harness.results.store import open_for_reading

    results = open_for_reading(options.results).load_all()
    if options.check is not None:
        drifted = check_file(options.check, results)
        for name in drifted:
            print(f"harness: {options.check}: block {name!r} has drifted; update it by --update", file=sys.stderr)
        return SOME_FAILED if drifted else OK
    if options.update is not None:
        update_file(options.update, results)
        return OK
    text = build(results, options.format or "md")
    if options.output is None:
        print(text, end="")
    else:
        write_text(options.output, text)
    return OK


def write_text(path: Path, text: str) -> None:
    """Write a file that a user asked for.

    Raises:
        ReportError: it cannot be written.
    """
    from harness.errors import ReportError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def call_show(options: argparse.Namespace) -> int:
    """Print one trial, or all in a line each."""
    from harness.report.show import show_store, show_trial
    from harness.results.store import find, open_for_reading

    store = open_for_reading(options.results)
    if options.trial is None:
        print(show_store(store.load_all()))
    else:
        print(show_trial(store.load(find(store, options.trial))))
    return OK


def call_backends(options: argparse.Namespace) -> int:
    """List the backends; exit 1 if one is broken."""
    from harness.plugins import describe_all

    infos, broken = describe_all()
    if options.json:
        listed = [info.model_dump(mode="json") for info in infos.values()]
        print(json.dumps({"backends": listed, "broken": [vars(backend) for backend in broken]}, indent=2))
    else:
        for info in infos.values():
            kinds = (info.phases, info.precisions, info.launchers)
            print(f"{info.name}: {info.model} in {info.framework}; {'; '.join(', '.join(kind) for kind in kinds)}")
            for option in info.options:
                choices = f" {'|'.join(map(str, option.choices))}" if option.choices else ""
                print(f"    {option.name} ({option.type}{choices}, default {option.default}): {option.help}")
        for backend in broken:
            print(f"{backend.name}: broken: {backend.reason}")
    return SOME_FAILED if broken else OK


def call_doctor(options: argparse.Namespace) -> int:
    """Print what this machine has; exit 1 if something is broken, or was to be built and is not."""
    from harness.doctor import examine

    findings, problems = examine(build=options.build)
    width = max(len(what) for what, _ in findings)
    for what, state in findings:
        print(f"{what:<{width}}  {state}")
    for problem in problems:
        print(f"problem: {problem}")
    return SOME_FAILED if problems else OK


def call_data_make(options: argparse.Namespace) -> int:
    """Generate a set."""
    from harness.data.catalogue import parse_coco_mini
    from harness.data.coco_mini import generate

    faults = str(options.faults).lower()
    name = f"coco-mini:images={options.images},size={options.size},seed={options.seed},faults={faults}/{options.split}"
    generate(options.folder, parse_coco_mini(name))
    print(options.folder)
    return OK


def call_data_check(options: argparse.Namespace) -> int:
    """Check a set: notes and faults, one line each."""
    from harness.data.catalogue import resolve
    from harness.data.check import check

    report = check(resolve(options.set), decode=not options.no_decode)
    for line in (*report.findings, *(f"note: {note}" for note in report.notes)):
        print(line)
    faults, warnings = len(report.faults), len(report.warnings)
    print(f"{report.images} images, {report.annotations} annotations: {faults} faults, {warnings} warnings")
    return SOME_FAILED if report.faults else OK


def call_weights_convert(options: argparse.Namespace) -> int:
    """Convert one file; exit 1 if something of the model is missing, which --partial accepts."""
    from harness.weights.conversion import convert
    from harness.weights.listing import conversion_lines

    done = convert(options.source, options.target, to=options.to, part=options.part, partial=options.partial)
    print("\n".join(conversion_lines(done)))
    if done.written is not None:
        return OK
    hint = "--partial writes what fits" if done.fit.fits else "no tensor fits"
    print(f"harness: {options.target} is not written: {options.source} is not whole; {hint}", file=sys.stderr)
    return SOME_FAILED


def call_weights_inspect(options: argparse.Namespace) -> int:
    """Print what a file holds."""
    from harness.weights.inspection import inspect, report_json
    from harness.weights.listing import report_lines

    report = inspect(options.weights)
    print(report_json(report) if options.json else "\n".join(report_lines(report, tensors=options.tensors)))
    return OK


def call_data_convert(options: argparse.Namespace) -> int:
    """Write a set as TFRecord files."""
    from harness.data.catalogue import resolve
    from harness.data.tfrecord_convert import convert

    split = options.split or ("val" if "val" in Path(options.set).name else "train")
    files = convert(resolve(options.set), options.folder, split, options.shards, masks=options.masks)
    print(f"{options.folder}: {files} files")
    return OK


if __name__ == "__main__":
    sys.exit(main())
