"""What the tests of the matrix start from: a backend, machines, and texts made into plans."""

from pathlib import Path

from harness.matrix.loading import source_of, to_value
from harness.matrix.model import Matrix
from harness.matrix.plan import Plan, expand
from harness.matrix.problems import parse_matrix
from harness.schema.backend import BackendInfo, Option
from harness.schema.system import GpuDevice, Machine

BOX = BackendInfo(
    name="box",
    framework="none",
    model="none",
    phases=("train", "eval", "infer"),
    precisions=("fp32", "tf32", "amp"),
    xla=True,
    max_ranks=16,
    options=(
        Option(name="flavour", type="str", default="plain", choices=("plain", "spiced"), help=""),
        Option(name="rate", type="float", default=None, minimum=0.0, maximum=1.0, phases=("train",), help=""),
        Option(name="threads", type="int", default=2, minimum=1, help=""),
        Option(name="fused", type="bool", default=True, help=""),
    ),
)
POLE = BackendInfo(
    name="pole",
    framework="none",
    model="none",
    phases=("infer",),
    precisions=("fp32",),
    devices=("cpu",),
    options=(Option(name="threads", type="int", default=1, maximum=64, help=""),),
)
BACKENDS = {"box": BOX, "pole": POLE}


def machine(gpus: int = 0, capability: str | None = "8.0", cores: int = 4) -> Machine:
    """A machine with so many GPUs of one kind."""
    device = {"name": "Tested GPU", "memory_bytes": 40 << 30, "compute_capability": capability}
    return Machine(
        hostname="h",
        os="",
        kernel="",
        architecture="",
        cpu_model=None,
        cpu_cores=cores,
        memory_bytes=8 << 30,
        python="3.11",
        gpus=tuple(GpuDevice(uuid=str(number), **device) for number in range(gpus)),
        gpu_note=None if gpus else "no driver",
    )


def read(text: str, name: str = "m.yaml") -> Matrix:
    """The matrix of a text."""
    source = source_of(text, name)
    return parse_matrix(to_value(source), source)


def plan_of(text: str, here: Machine | None = None) -> Plan:
    """The plan of a text on a machine; without one, on a machine with four cores and no GPU."""
    return expand(read(text), BACKENDS, here or machine())


def block(keys: str) -> str:
    """A matrix of one block of `box` on the CPU, the keys added in line 4 from column 42 on."""
    return f"name: m\ndevice: cpu\ntrials:\n  - {{backend: box, phase: [train,infer], {keys}}}\n"


def ids(plan: Plan) -> list[str]:
    """The ids of the trials of a plan, in order."""
    return [point.trial.trial_id for point in plan.points]


def written(folder: Path, text: str) -> Path:
    """A file with a text."""
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    return path
