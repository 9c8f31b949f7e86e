"""What the results of a run depend on besides their trials: what the run shares, read once, and what a backend adds."""

import sys
from collections.abc import Callable, Mapping

from harness.errors import KernelError
from harness.kernels.sources import digest_of, sources
from harness.kernels.toolchain import cuda_compiler, host_compiler
from harness.measure.provenance import MatrixFile, of_backend, run_provenance
from harness.runner.containment import best_containment
from harness.schema.backend import BackendInfo
from harness.schema.system import KernelSources, Provenance


def shared_provenance(fingerprints: Mapping[str, str], matrix: MatrixFile | None, *, cuda: bool) -> Provenance:
    """What all results of a run depend on.

    Args:
        fingerprints: SHA-256 of each annotation file, by the set's name.
        matrix: the file that the run carries out.
        cuda: a GPU is visible, so that kernels may be compiled for it.
    """
    command = ("harness", *sys.argv[1:])
    found = run_provenance(command, best_containment().name, fingerprints, matrix)
    return found.model_copy(update={"kernels": kernel_sources(cuda=cuda)})


def provenance_of(info: BackendInfo, shared: Provenance, module: str | None = None) -> Provenance:
    """What the results of one backend depend on.

    Args:
        info: of the backend.
        shared: of the run.
        module: where the backend's hooks are, as its entry point names it.
    """
    found = of_backend(shared, info.distributions, module)
    return found.model_copy(update={"framework": info.framework, "model": info.model})


def kernel_sources(*, cuda: bool) -> KernelSources:
    """The native kernels' sources and their compilers; what is not there is None.

    Args:
        cuda: ask for a CUDA compiler too.
    """
    return KernelSources(
        sources_sha256=_or_none(lambda: digest_of((*sources("cpu"), *sources("cuda")))),
        compiler=_or_none(lambda: host_compiler().version),
        cuda_compiler=_or_none(lambda: cuda_compiler().version) if cuda else None,
    )


def _or_none(read: Callable[[], str]) -> str | None:
    try:
        return read()
    except KernelError:
        return None
