import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness
from harness.measure.software import read_software
from harness.measure.source_code import git_state, module_sha256
from harness.schema.system import Provenance

HOST_DISTRIBUTIONS = ("numpy", "opencv-python-headless", "pillow", "pycocotools", "simplejpeg")
"""What the host itself decodes and scores with."""
OPTIONAL_DISTRIBUTIONS = ("hotcoco", "nvidia-ml-py", "psutil")
"""What the host may score and watch with; recorded where it is installed."""
NOT_INSTALLED = "not installed"

SWITCH = re.compile(
    r"CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|CACHE_\w+)|NVIDIA_(TF32_OVERRIDE|VISIBLE_DEVICES)"
    r"|(XLA|TORCH|TORCHINDUCTOR|PYTORCH|CUDNN|CUBLAS|CUBLASLT|NCCL|GLOO|OMP|GOMP|MKL|KMP|OPENBLAS|ONEDNN|DNNL|HOROVOD"
    # What Open MPI's launcher tells its processes is of one job: a replay that set it would look for that job.
    r"|MALLOC|OMPI_MCA(?!_(orte|ess|pmix)_)|UCX)_\w+|LD_PRELOAD|PYTHONHASHSEED|PYTHONOPTIMIZE|PYTHONMALLOC"
    # Terraform's variables begin with TF_ too, and TF_VAR_... may hold anything: TensorFlow's are taken by family.
    r"|TF_(CONFIG|(ADJUST|AUTO|AUTOTUNE|CPP|CPU|CUBLAS|CUDA|CUDNN|DETERMINISTIC|DISABLE|ENABLE|FORCE|FP16|GPU|MKL|NUM"
    r"|ONEDNN|SET|SYNC|TRT|USE|XLA)_\w+)"
)
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|APIKEY|(^|_)(KEY|AUTH)(_|$)", re.IGNORECASE)
"""No name of a known family should hold a secret, but a result is made to be published."""
LOGIN = re.compile(r"://[^/\s@]*:[^/\s@]*@")
"""A user and a password in a URL."""


@dataclass(frozen=True, slots=True)
class MatrixFile:
    """A matrix file: its name without folders, and the SHA-256 of its bytes."""

    name: str
    sha256: str


def run_provenance(
    command: Sequence[str],
    containment: str,
    data_fingerprints: Mapping[str, str],
    matrix: MatrixFile | None = None,
) -> Provenance:
    """Gather what all results of a run depend on besides their trials; `of_backend` adds what differs by backend.

    Args:
        command: the command line of the run.
        containment: how the worker's processes are held together.
        data_fingerprints: SHA-256 of each annotation file by role.
        matrix: the file that the run carries out.
    """
    commit, dirty, diff = git_state(Path(harness.__file__).resolve().parents[1])
    return Provenance(
        harness_version=_version("detection-harness"),
        git_commit=commit,
        git_dirty=dirty,
        git_diff_sha256=diff,
        harness_sha256=module_sha256("harness"),
        matrix_file=None if matrix is None else matrix.name,
        matrix_sha256=None if matrix is None else matrix.sha256,
        command=tuple(LOGIN.sub("://…@", homeless(word)) for word in command),
        working_directory=homeless(str(Path.cwd())),
        packages=_host_packages(),
        environment=switches(os.environ),
        containment=containment,
        data_fingerprints=dict(data_fingerprints),
    )


def of_backend(shared: Provenance, distributions: Sequence[str], module: str | None = None) -> Provenance:
    """Add to a run's provenance what one backend brings.

    Args:
        shared: of the run.
        distributions: that the backend names, the framework's first; one that is missing is recorded as not installed.
        module: where the backend's hooks are, as its entry point names it.
    """
    return shared.model_copy(
        update={
            "packages": {name: _version(name) for name in distributions} | shared.packages,
            "software": read_software(distributions),
            "backend_sha256": None if module is None else module_sha256(module.partition(":")[0]),
        }
    )


def switches(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change how frameworks compute or communicate, by name; none that may hold a secret."""
    kept = (name for name in sorted(environment) if SWITCH.fullmatch(name) and not SECRET.search(name))
    return {name: environment[name] for name in kept if not LOGIN.search(environment[name])}


def homeless(text: str) -> str:
    """Return a word of a command line with ~ for the user's home, which names a person, at its start or after a =."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() fails for a user without one
    if home in {"~", "/"}:
        return text
    return re.sub(rf"(^|=){re.escape(home)}(?=/|$)", r"\1~", text)


def _host_packages() -> dict[str, str]:
    optional = {name: _version(name) for name in OPTIONAL_DISTRIBUTIONS}
    installed = {name: found for name, found in optional.items() if found != NOT_INSTALLED}
    return {name: _version(name) for name in HOST_DISTRIBUTIONS} | installed


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED
