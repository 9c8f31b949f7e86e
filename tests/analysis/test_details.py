"""Machine and provenance in words, and every field of them that is known."""

from made_results import MACHINE, PROVENANCE, make_machine, make_result

from harness.analysis.circumstances import provenance_facts
from harness.analysis.details import framework_versions, machine_details, provenance_details, setup_facts
from harness.report.show import show_trial
from harness.schema.system import Container, Cpu, GpuState, KernelSources, Memory, Software

STATE = GpuState(uuid="GPU-0", power_limit_mw=400000, sm_clock_max_mhz=1980, mig=False, ecc=True, persistence=True)
RICH = make_machine(
    2,
    cpu=Cpu(sockets=2, cores=64, governor="performance", boost=True, virtual=False),
    memory=Memory(swap_bytes=0),
    container=Container(kind="podman", image="lab/x:1", cpu_quota=1.5, memory_limit_bytes=8 << 30),
    cuda_driver="13.0",
    gpu_states=(STATE, STATE.model_copy(update={"uuid": "GPU-1"})),
)
SOURCE = PROVENANCE.model_copy(
    update={
        "framework": "torch",
        "software": Software(framework="2.14.1+cu130", cudnn="9.24.0", nccl="2.30.7"),
        "kernels": KernelSources(sources_sha256="ab" * 32, compiler="g++ 12.2.0"),
    }
)


def test_what_speed_hinges_on_is_told_in_words():
    """Sockets, governor, boost, container and its limits, driver, caps, clocks, modes, compiler; equal GPUs once."""
    assert dict(setup_facts(RICH, SOURCE)) == {
        "processor set-up": "2 sockets, 64 physical cores, governor performance, boost on",
        "container": "podman, lab/x:1, 1.5 CPUs, 8.0 GiB",
        "CUDA of the driver": "13.0",
        "GPU set-up": "power cap 400 W, SM clock up to 1980 MHz, MIG off, ECC on, persistence on",
        "compiler of kernels": "g++ 12.2.0",
    }
    other = RICH.model_copy(update={"gpu_states": (STATE, STATE.model_copy(update={"power_limit_mw": 300000}))})
    assert dict(setup_facts(other, None))["GPU set-up"].count("power cap") == 2


def test_an_old_record_has_no_new_rows():
    """Its tables stay as they were."""
    assert list(setup_facts(MACHINE, PROVENANCE)) == []
    assert list(framework_versions(PROVENANCE)) == []
    assert list(machine_details(make_result())) == []
    assert list(provenance_details(make_result())) == []


def test_libraries_are_named_with_their_framework():
    """Two frameworks in one store load libraries of their own, which is no mixture."""
    other = SOURCE.model_copy(update={"framework": "tensorflow", "software": Software(cudnn="9.3.0")})
    found = provenance_facts([make_result(provenance=SOURCE), make_result(provenance=other, backend="tf_maskrcnn")])
    facts = {fact.name: (tuple(fact.values), fact.mixed) for fact in found if "cuDNN" in fact.name}
    assert facts == {"cuDNN of torch": (("9.24.0",), False), "cuDNN of tensorflow": (("9.3.0",), False)}


def test_machines_that_are_set_up_differently_are_mixed():
    """The same processor under another governor is another machine to measure on."""
    slow = RICH.model_copy(update={"cpu": RICH.cpu.model_copy(update={"governor": "powersave"})})
    found = provenance_facts([make_result(machine=RICH), make_result(machine=slow, repeat=1)])
    assert next(fact.mixed for fact in found if fact.name == "processor set-up")


def test_every_known_field_is_shown():
    """By its dotted name, zeros and switches that are off included; what is unknown is left out."""
    result = make_result(machine=RICH, provenance=SOURCE)
    machine, source = dict(machine_details(result)), dict(provenance_details(result))
    assert machine["memory.swap_bytes"] == "0"
    assert machine["cpu.virtual"] == "false"
    assert machine["gpu_states.power_limit_mw"] == "2 × 400000"
    assert machine["gpus.uuid"] == "GPU-1"
    assert source["kernels.sources_sha256"] == "ab" * 32
    assert not [name for name in (*machine, *source) if "microcode" in name or name.endswith("cublas")]
    shown = show_trial(result)
    for name, value in {**machine, **source}.items():
        assert name in shown
        assert value.split()[-1] in shown
