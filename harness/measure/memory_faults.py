"""What frameworks, CUDA and C++ say when they run out of memory, and what only sounds like it.

A message counts where it is that of an exception, or of the end of a process: the last lines of a Python traceback, the
`what()` under a C++ `terminate called`, a fatal line (F) of a TensorFlow log. A line that mentions memory in passing,
a warning after which work went on, and an allocator's statistics are none of these.

Sources of the wordings: PyTorch c10/cuda/CUDACachingAllocator.cpp, c10/cuda/CUDAException.cpp,
c10/core/impl/alloc_cpu.cpp, aten/src/ATen/cuda/Exceptions.h; NCCL src/include/checks.h; TensorFlow
framework/op_kernel.cc, tsl/platform/errors.cc; XLA pjrt and xla/stream_executor.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.schema.causes import MemoryCause

WORDS: tuple[tuple[MemoryCause, str], ...] = (
    ("cuda_memory", r"^(?:[\w.]*OutOfMemoryError: )?CUDA out of memory\. Tried to allocate "),
    ("cuda_memory", r"^CUDA (?:driver )?error: out of memory"),
    ("cuda_memory", r"^CUDA error: CUBLAS_STATUS_ALLOC_FAILED\b"),
    ("cuda_memory", r"^cuDNN error: CUDNN_STATUS_(?:ALLOC_FAILED|INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)\b"),
    ("cuda_memory", r"\bcudaErrorMemoryAllocation\b"),
    ("cuda_memory", r"^Cuda failure (?:\d+ )?'out of memory'"),
    ("process_memory", r"^(?:std::)?bad_alloc\b"),
    ("process_memory", r"\bDefaultCPUAllocator: (?:can't allocate|not enough) memory: you tried to allocate "),
    ("process_memory", r"^\[Errno 12\] Cannot allocate memory"),
    ("tensorflow_memory", r"^(?:\{\{.*\}\} )?OOM when allocating tensor "),
    ("tensorflow_memory", r"\bRESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate|OOM when allocating)"),
    ("tensorflow_memory", r"^(?:\{\{.*\}\} )?(?:Out of memory while trying to allocate|failed to allocate memory)\b"),
    ("tensorflow_memory", r"\bCUDA_ERROR_OUT_OF_MEMORY\b"),
)
"""Regular expressions for the message of an exception or of a process's end, line by line; the first found decides."""
RULES = tuple((cause, re.compile(pattern, re.MULTILINE)) for cause, pattern in WORDS)

TYPES: tuple[tuple[MemoryCause, "re.Pattern[str]"], ...] = (
    ("cuda_memory", re.compile(r"(?:torch\.|torch\.cuda\.|c10::)OutOfMemoryError")),
    ("tensorflow_memory", re.compile(r"(?:tensorflow\..*\.|tf\.errors\.)?ResourceExhaustedError")),
    ("process_memory", re.compile(r"MemoryError|numpy\..*\._ArrayMemoryError|std::bad_alloc")),
)
"""For the full name of an exception's type."""

NOT_MEMORY = re.compile(r"; (No space left on device|Disk quota exceeded|Too many open files)\b")
"""What TensorFlow calls RESOURCE_EXHAUSTED too: errno values of files."""


class Fault(NamedTuple):
    """A message that ended something: in which form it stood, the type's name, and its words, one line or more."""

    form: str
    """traceback, terminate or fatal."""
    type: str
    message: str

    @property
    def first_line(self) -> str:
        """As a person quotes it."""
        return f"{self.type}: {self.message}".partition("\n")[0]


def memory_cause(type_name: str, message: str) -> MemoryCause | None:
    """What kind of memory ran out, if that is what an exception of this type with this message says.

    Args:
        type_name: with its module, as tracebacks have it.
        message: one line or more.
    """
    if not_memory(message):
        return None
    by_words = next((cause for cause, rule in RULES if rule.search(message)), None)
    return by_words or next((cause for cause, rule in TYPES if rule.fullmatch(type_name)), None)


def not_memory(message: str) -> str | None:
    """What a message that speaks of exhausted resources lacks instead of memory, in the system's words."""
    found = NOT_MEMORY.search(message)
    return found and found[1]


RANK = r"(?:\[(?:rank|default)\d+\]:(?:\[rank\d+\]:)? ?)?"
"""What torchrun and torch.distributed put before the lines of a rank."""
HEADER = re.compile(RANK + r"Traceback \(most recent call last\):$")
RAISED = re.compile(RANK + r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
TERMINATE = re.compile(RANK + r"terminate called after throwing an instance of '(?P<type>.+)'$")
WHAT = re.compile(RANK + r" +what\(\): +(?P<message>.*)$")
FATAL = re.compile(RANK + r"(?:F\d{4} [\d:.]+ .*?\]|[-\d]+ [\d:.]+: F .*?\]) (?P<message>.*)$")
NCCL = "NCCL error in: "
NCCL_LINES = 5
"""As far as NCCL's own last error stands below the head of the exception that torch makes of it."""


def faults(lines: Sequence[str]) -> Iterator[Fault]:
    """The ends of tracebacks and of processes that a log tells of, in its order."""
    inside = False
    for number, line in enumerate(lines):
        if HEADER.match(line):
            inside = True
        elif inside and not re.match(RANK + r"(?:  |$)", line):
            inside = False
            if found := RAISED.match(line):
                message = found["message"] or ""
                more = lines[number + 1 : number + 1 + NCCL_LINES] if message.startswith(NCCL) else ()
                yield Fault("traceback", found["type"], "\n".join([message, *more]))
        elif found := TERMINATE.match(line):
            what = WHAT.match(lines[number + 1]) if number + 1 < len(lines) else None
            yield Fault("terminate", found["type"], what["message"] if what else "")
        elif found := FATAL.match(line):
            yield Fault("fatal", "fatal", re.sub(r"^Check failed: .*? status: ", "", found["message"]))
