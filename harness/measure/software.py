"""What is inside a framework, from the files that its installation left; importing one takes seconds and a GPU.

The framework's version and build: torch/version.py, tensorflow/python/platform/build_info.py, read as text.
CUDA runtime, cuDNN, NCCL, cuBLAS: the installed packages of NVIDIA whose CUDA release is the one that the framework was
compiled against, since those are what it loads. A framework that brings its own copies, as conda's do, has none.
"""

import re
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from harness.measure.reading import text_of
from harness.schema.system import Software

BUILDS: dict[str, tuple[str, dict[str, str]]] = {
    "torch": (
        "torch/version.py",
        {
            "framework": r"__version__\s*=\s*'([^']+)'",
            "framework_commit": r"git_version\s*=\s*'([^']+)'",
            "cuda_build": r"cuda\b[^=\n]*=\s*'([^']+)'",
        },
    ),
    "tensorflow": (
        "tensorflow/python/platform/build_info.py",
        {
            "cuda_build": r"'cuda_version',\s*'([^']+)'",
            "cudnn_build": r"'cudnn_version',\s*'([^']+)'",
        },
    ),
}
"""Where a framework's files name a field, by what its distribution's name begins with."""
NVIDIA = {"cuda_runtime": "cuda-runtime", "cudnn": "cudnn", "nccl": "nccl", "cublas": "cublas"}
"""Packages of NVIDIA are named nvidia-NAME-cuMAJOR; from CUDA 13 on those of the toolkit have no suffix."""


def read_software(distributions: Sequence[str]) -> Software:
    """Read the versions inside the first of these distributions, which is the framework's.

    Args:
        distributions: as a backend names them.
    """
    found: dict[str, str] = {}
    framework = _installed(distributions[0]) if distributions else None
    if framework is not None:
        found["framework"] = framework.version
        found |= _build(framework, distributions[0])
        found |= _libraries(found.get("cuda_build"))
    return Software.model_validate(found)


def _build(framework: Distribution, name: str) -> dict[str, str]:
    """What a framework's own file says of its build; nothing for a framework that is not listed."""
    family = next((key for key in BUILDS if name.lower().startswith(key)), None)
    if family is None:
        return {}
    path, patterns = BUILDS[family]
    text = text_of(Path(str(framework.locate_file(path)))) or ""
    return {field: match[1] for field, pattern in patterns.items() if (match := re.search(pattern, text))}


def _libraries(cuda: str | None) -> dict[str, str]:
    """The versions of NVIDIA's packages of one CUDA release; none where the framework was built without CUDA."""
    if cuda is None:
        return {}
    major = cuda.partition(".")[0]
    found = {}
    for field, name in NVIDIA.items():
        suffixed, plain = _installed(f"nvidia-{name}-cu{major}"), _installed(f"nvidia-{name}")
        chosen = suffixed or (plain if plain and plain.version.startswith(f"{major}.") else None)
        if chosen is not None:
            found[field] = chosen.version
    return found


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
