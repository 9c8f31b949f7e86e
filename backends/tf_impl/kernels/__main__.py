"""`python -m backends.tf_impl.kernels cpu|cuda`: build the binding of one device and print where it is."""

import sys

from backends.tf_impl.kernels.building import binding_recipe
from harness.kernels import KernelError, build, load


def main(device: str) -> int:
    """Build what is not there; one line on standard error where that fails."""
    try:
        path = build(binding_recipe(load("cuda" if device == "cuda" else "cpu"))).path
    except KernelError as error:
        print(error, file=sys.stderr)  # noqa: T201  a program's output
        return 1
    print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
