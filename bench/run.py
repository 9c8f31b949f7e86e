"""All measurements behind `make bench`: a line each, with its bar or its peer. Nothing here passes or fails."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "host",
    "telemetry",
    "simulations",
    "compare",
    "plan_100k",
    "data",
    "tf_data",
    "kernels",
    "torch_maskrcnn",
    "tf_models",
)


def main() -> None:
    """Run every script in a process of its own, so that none measures what another has imported."""
    for name in SCRIPTS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)


if __name__ == "__main__":
    main()
