"""Why a trial ended as it did: a closed set, each cause of one kind of outcome. docs/outcomes.md lists them."""

from collections.abc import Mapping
from typing import Literal

MemoryCause = Literal[
    "cuda_memory", "tensorflow_memory", "backend_memory", "process_memory", "cgroup_limit", "oom_killer"
]
CrashCause = Literal["fault", "killed", "exit_code", "not_started"]
FailureCause = Literal[
    "missing_package",
    "import_error",
    "wrong_hook",
    "broken_seam",
    "bad_data",
    "bad_weights",
    "no_space",
    "read_only",
    "exception",
    "no_record",
    "malformed_record",
]
SkipCause = Literal["excluded", "weights_missing", "too_large"]
Cause = Literal[MemoryCause, CrashCause, FailureCause, SkipCause, "time_limit", "not_finite", "declined", "infeasible"]

CAUSES: Mapping[str, Mapping[Cause, str]] = {
    "ok": {},
    "unsupported": {
        "declined": "the backend itself declined the trial",
        "infeasible": "the plan found that the backend or this machine cannot run it",
    },
    "out_of_memory": {
        "cuda_memory": "CUDA had no memory left: a message of PyTorch, CUDA, cuBLAS, cuDNN or NCCL says so",
        "tensorflow_memory": "an allocator of TensorFlow or XLA had no memory left",
        "backend_memory": "the backend raised DeviceOutOfMemoryError in words that tell no more",
        "process_memory": "the system refused a worker memory: MemoryError, std::bad_alloc or ENOMEM",
        "cgroup_limit": "the kernel killed a worker because a control group was at its memory limit",
        "oom_killer": "the kernel killed a worker because the machine had no memory left",
    },
    "timeout": {"time_limit": "not done when timeout_s had passed; slow or hung cannot be told for certain"},
    "crashed": {
        "fault": "a worker died of a fault of its own: SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL and their like",
        "killed": "a signal from elsewhere ended a worker: SIGKILL, SIGTERM, SIGINT, SIGHUP and their like",
        "exit_code": "a worker left with an exit code and without a record",
        "not_started": "the process that starts workers ended, and the worker, if there was one, with it",
    },
    "diverged": {"not_finite": "a loss became NaN or infinite"},
    "failed": {
        "missing_package": "a package that the backend imports is not installed, such as its framework",
        "import_error": "the backend's module, or one that it imports, cannot be imported",
        "wrong_hook": "a hook's name or arguments are not those of the specification, or what it returned is no work",
        "broken_seam": "the backend broke another promise: ended too early, did not synchronise, saved no weights",
        "bad_data": "a data set is missing, unreadable or not in COCO format",
        "bad_weights": "weights cannot be read or written, or do not fit the model",
        "no_space": "a file system that a worker wrote to was full, or the user's share of it",
        "read_only": "a file system that a worker wrote to was read-only",
        "exception": "any other exception",
        "no_record": "exit code 0, but a rank left no record",
        "malformed_record": "a rank's record is truncated or not what the schema says",
    },
    "skipped": {
        "excluded": "a rule of the matrix drops the point",
        "weights_missing": "the weights that it reads by name are not in the store",
        "too_large": "a point of its family that is no larger ran out of memory",
    },
}
"""What each cause means, by the kind of outcome that it belongs to."""
