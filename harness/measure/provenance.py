import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness
from harness.schema.system import Provenance

HOST_DISTRIBUTIONS = ("numpy", "opencv-python-headless", "pillow", "pycocotools", "simplejpeg")
"""What the host itself decodes and scores with."""
NOT_INSTALLED = "not installed"
GIT_TIMEOUT_S = 20

SWITCH = re.compile(
    r"CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|CACHE_\w+)|NVIDIA_(TF32_OVERRIDE|VISIBLE_DEVICES)"
    r"|(XLA|TORCH|TORCHINDUCTOR|PYTORCH|CUDNN|CUBLAS|CUBLASLT|NCCL|GLOO|OMP|GOMP|MKL|KMP|OPENBLAS|ONEDNN|DNNL|HOROVOD"
    r"|MALLOC|OMPI_MCA|UCX)_\w+|LD_PRELOAD|PYTHONHASHSEED|PYTHONOPTIMIZE|PYTHONMALLOC"
    # Terraform's variables begin with TF_ too, and TF_VAR_... may hold anything: TensorFlow's are taken by family.
    r"|TF_(CONFIG|(ADJUST|AUTO|AUTOTUNE|CPP|CPU|CUBLAS|CUDA|CUDNN|DETERMINISTIC|DISABLE|ENABLE|FORCE|FP16|GPU|MKL|NUM"
    r"|ONEDNN|SET|SYNC|TRT|USE|XLA)_\w+)"
)
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|APIKEY|(^|_)(KEY|AUTH)(_|$)", re.IGNORECASE)
"""No name of a known family should hold a secret, but a result is made to be published."""


def provenance(
    info_distributions: Sequence[str],
    command: Sequence[str],
    containment: str,
    data_fingerprints: Mapping[str, str],
) -> Provenance:
    """Gather what a result depends on besides its trial.

    Args:
        info_distributions: the distributions that the backend names; one that is missing is recorded as not installed.
        command: the command line of the run.
        containment: how the worker's processes are held together.
        data_fingerprints: SHA-256 of each annotation file by role.
    """
    commit, dirty = git_state(Path(harness.__file__).resolve().parents[1])
    return Provenance(
        harness_version=_version("detection-harness"),
        git_commit=commit,
        git_dirty=dirty,
        command=tuple(command),
        packages={name: _version(name) for name in dict.fromkeys((*info_distributions, *HOST_DISTRIBUTIONS))},
        environment=switches(os.environ),
        containment=containment,
        data_fingerprints=dict(data_fingerprints),
    )


def switches(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change how frameworks compute or communicate, by name; none that may hold a secret."""
    return {
        name: environment[name] for name in sorted(environment) if SWITCH.fullmatch(name) and not SECRET.search(name)
    }


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit checked out at `root` and whether files differ from it, untracked ones included.

    Both None where `root` is not the top of a checkout (an installed package may lie in another) or git cannot say.
    """
    if not (root / ".git").exists():
        return None, None
    # A GIT_DIR from a hook would answer for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        status = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=normal"],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    head, changes = None, 0
    for line in status.stdout.splitlines():
        if line.startswith("# branch.oid "):
            head = line.rpartition(" ")[2]
        elif not line.startswith("#"):
            changes += 1
    return (None, None) if head in {None, "(initial)"} else (head, changes > 0)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED
