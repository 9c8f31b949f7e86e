from harness.measure.container import read_container, read_scheduler
from harness.measure.cpu import read_cpu
from harness.measure.gpu_state import read_gpu_states
from harness.measure.system import read_memory, read_system
from harness.schema.system import Machine


def with_details(machine: Machine) -> Machine:
    """Add what results are recorded with and a plan does not need: how processors, GPUs and the system are set up.

    Read once a run; what a reading lacks is None, and nothing here fails.
    """
    gpus = read_gpu_states([gpu.uuid for gpu in machine.gpus])
    return machine.model_copy(
        update={
            "gpu_states": gpus.states,
            "cuda_driver": gpus.cuda_driver,
            "nvml": gpus.nvml,
            "cpu": read_cpu(),
            "memory": read_memory(),
            "system": read_system(),
            "container": read_container(),
            "scheduler": read_scheduler(),
        }
    )
