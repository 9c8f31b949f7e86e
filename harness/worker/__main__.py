"""`python -m harness.worker ASSIGNMENT`: run one trial on one rank and leave its record beside the assignment.

The ranks' launcher names rank, local rank and world size in RANK, LOCAL_RANK and WORLD_SIZE, as torchrun does; one
rank needs none of them. What a framework prints goes to the log; the record goes by its own file.
"""

import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

from harness.hookspecs import Context
from harness.schema.result import Assignment
from harness.worker.containment import die_with_parent
from harness.worker.trial import run_trial


def main() -> int:
    """Work through the assignment that the command line names."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return work(sys.argv[1])
    die_with_parent()
    code = work(sys.argv[1])
    if code != 0:
        leave(code)
    return code


def leave(code: int) -> NoReturn:
    """End without ceremony: a framework's farewell on exit would fail the other ranks, which then blame themselves."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def work(path: str) -> int:
    """Return 0 if the trial is ok; 1 otherwise, so that a launcher of ranks ends the others."""
    gc.freeze()  # the host's own objects shall not slow the collection of a backend's garbage
    assignment = Assignment.model_validate_json(Path(path).read_bytes())
    context = Context(
        rank=int(os.environ.get("RANK", "0")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        train=assignment.data.train,
        val=assignment.data.val,
    )
    record = run_trial(assignment, context)
    target = Path(assignment.scratch) / f"rank{context.rank}.json"
    aside = target.with_suffix(".tmp")
    aside.write_text(record.model_dump_json(), encoding="utf-8")
    aside.replace(target)
    return 0 if record.outcome.kind == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
