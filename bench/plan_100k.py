"""How long a matrix of 100,000 points takes from its file to a plan; the bar is 2 s on two cores."""

import sys
import tempfile
import time
from pathlib import Path

from harness.matrix.loading import load_matrix
from harness.matrix.plan import Plan, expand
from harness.schema.backend import BackendInfo, Option
from harness.schema.system import Machine

MATRIX = """\
name: big
device: cpu
defaults: {warmup_steps: 5, timed_steps: 20}
trials:
  - backend: wide
    phase: [train, infer]
    axes:
      gpus: [1, 2, 3, 4, 5, 6, 7, 8]
      batch_size_per_gpu: [1, 2, 4, 6, 8, 12, 16, 24, 32, 48]
      precision: [fp32, amp]
      image_size: [128, 256, 512, 640, 800]
      seed: [SEEDS]
      workers: [0, 1]
  - backend: wide
    phase: eval
    repeats: 5
    axes: {seed: [1, 2, 3, 4, 5, 6, 7, 8], batch_size_per_gpu: [1, 2, 4, 8, 16], xla: [true, false], workers: [0, 1]}
exclude:
  - {when: {backend: "wi*", gpus: ">=4", batch_size_per_gpu: 48}, because: "does not fit"}
  - {when: {precision: amp, image_size: 800}, because: "not asked"}
""".replace("SEEDS", ", ".join(map(str, range(31))))
BACKEND = BackendInfo(
    name="wide",
    framework="none",
    model="none",
    phases=("train", "eval", "infer"),
    precisions=("fp32", "tf32", "amp"),
    options=(Option(name="workers", type="int", default=0, minimum=0, help="threads that read images"),),
)
MACHINE = Machine(
    hostname="bench",
    os="",
    kernel="",
    architecture="",
    cpu_model=None,
    cpu_cores=4,
    memory_bytes=1 << 34,
    python="",
)


def timed_plan() -> tuple[Plan, float]:
    """Load and expand the matrix once; the plan and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.yaml"
        path.write_text(MATRIX)
        started = time.perf_counter()
        plan = expand(load_matrix(path), {BACKEND.name: BACKEND}, MACHINE)
        return plan, time.perf_counter() - started


def main() -> None:
    """Print one line: how many points, how many seconds."""
    plan, elapsed_s = timed_plan()
    sys.stdout.write(f"plan: {len(plan.points):,} points from file to plan in {elapsed_s:.2f} s (bar: 2 s)\n")


if __name__ == "__main__":
    main()
