"""What each target's library is made of."""

from pathlib import Path
from typing import Literal

from harness.kernels.building import Recipe
from harness.kernels.sources import source_root, sources
from harness.kernels.toolchain import Compiler, cpu_flags, cuda_architectures, cuda_compiler, host_compiler

Target = Literal["cpu", "cuda", "emulated"]

# Contraction to fused products would make results depend on the compiler; without errno and traps square roots and
# comparisons become vector instructions. NaN and infinity keep their meaning.
HOST_FLAGS = ("-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-pthread")
HIDDEN = "-fvisibility=hidden"


def recipe(target: Target) -> Recipe:
    """How the library of a target is built.

    Raises:
        KernelError: its compiler is missing.
    """
    return {"cpu": _cpu, "cuda": _cuda, "emulated": _emulated}[target]()


def _cpu() -> Recipe:
    return Recipe(
        name="kernels_cpu",
        compiler=host_compiler(),
        sources=sources("cpu"),
        flags=("-O3", "-march=native", HIDDEN, "-DKERNEL_TARGET_CPU", *HOST_FLAGS),
        link=("-shared", "-pthread"),
        depends=(cpu_flags(),),
    )


def _cuda() -> Recipe:
    compiler = cuda_compiler()
    numbers = cuda_architectures()
    code = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    code.append(
        f"-gencode=arch=compute_{numbers[-1]},code=compute_{numbers[-1]}"
    )  # later devices compile it at first use
    return Recipe(
        name="kernels_cuda",
        compiler=compiler,
        sources=sources("cuda"),
        flags=(
            *("-O3", "-std=c++17", "-fmad=false", "-DKERNEL_TARGET_CUDA", "--extended-lambda"),
            *(f"-Xcompiler={flag}" for flag in ("-fPIC", HIDDEN)),
            *code,
        ),
        link=("-shared", *_cuda_libraries(compiler), *code),
        depends=(host_compiler().version,),
    )


def _cuda_libraries(compiler: Compiler) -> tuple[str, ...]:
    """Packages of pip keep libraries in lib/, where nvcc does not look."""
    folder = Path(compiler.path).resolve().parents[1] / "lib"
    return (f"-L{folder}",) if (folder / "libcudart_static.a").exists() else ()


def _emulated() -> Recipe:
    return Recipe(
        name="kernels_emulated",
        compiler=host_compiler(),
        sources=(*sources("cuda"), *sources("emulation")),
        flags=("-O1", HIDDEN, "-DKERNEL_TARGET_EMULATED", "-x", "c++", *HOST_FLAGS),
        link=("-shared", "-pthread"),
        depends=(str(source_root()),),
    )
