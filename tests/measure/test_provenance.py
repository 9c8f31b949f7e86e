"""What a result depends on besides its trial."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure import provenance as module
from harness.measure.provenance import MatrixFile, homeless, of_backend, run_provenance, switches


def test_switches_are_kept_and_secrets_are_not():
    """Variables that change computation are recorded, anything else is not, and never what may be a secret."""
    kept = {
        "CUDA_VISIBLE_DEVICES": "0",
        "LD_PRELOAD": "/usr/lib/libjemalloc.so",
        "MALLOC_ARENA_MAX": "2",
        "NCCL_ALGO": "Ring",
        "NVIDIA_TF32_OVERRIDE": "0",
        "OMPI_MCA_btl": "self,tcp",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TF_CONFIG": "{}",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "XLA_FLAGS": "--xla_dump_to=x",
    }
    others = {
        "HOME": "/root",
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "TF_TOKEN_app_terraform_io": "x",
        "TF_VAR_database": "x",
        "TF_CLI_CONFIG_FILE": "x",
        "TORCH_HUB_AUTH": "x",
        "MKL_LICENSE_KEY": "x",
        "MY_OMP_NUM_THREADS": "1",
        "OMPI_MCA_orte_hnp_uri": "1234.0;tcp://10.0.0.1:40001",
        "OMPI_MCA_ess_base_jobid": "1234",
        "TF_CPU_PROFILE_SINK": "https://ada:lovelace@host/x",
    }
    assert switches({**others, **kept}) == kept


@settings(deadline=None)
@given(st.sampled_from(["TORCH_", "NCCL_", "HOROVOD_", "TF_CPU_", "XLA_", "MKL_"]), st.text("ABKEY_OUTHS", max_size=12))
def test_no_variable_named_like_a_secret_is_kept(family, rest):
    """Whatever the family, a part called KEY or AUTH keeps a variable out."""
    name = family + rest
    parts = name.split("_")
    assert (name in switches({name: "x"})) is (bool(rest) and not {"KEY", "AUTH"} & set(parts))


def test_provenance_names_versions_and_what_is_missing(monkeypatch):
    """Backend and host distributions are recorded by version, an absent one as not installed."""
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    shared = run_provenance(["harness", "run", "m.yaml"], "session", {"val": "ab"}, MatrixFile("m.yaml", "cd" * 32))
    found = of_backend(shared, ["pluggy", "no-such-distribution"], "harness.plugins")
    assert list(found.packages)[:2] == ["pluggy", "no-such-distribution"]
    assert found.packages["pluggy"] == importlib.metadata.version("pluggy")
    assert found.packages["no-such-distribution"] == "not installed"
    assert set(module.HOST_DISTRIBUTIONS) <= set(found.packages)
    assert found.environment["NCCL_DEBUG"] == "INFO"
    assert found.harness_version == importlib.metadata.version("detection-harness")
    assert (found.command, found.containment, found.data_fingerprints) == (
        ("harness", "run", "m.yaml"),
        "session",
        {"val": "ab"},
    )
    assert (found.matrix_file, found.matrix_sha256) == ("m.yaml", "cd" * 32)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (found.harness_sha256, found.backend_sha256))


def test_the_users_home_is_not_told(monkeypatch):
    """Neither the command nor the working directory names a person."""
    monkeypatch.setenv("HOME", str(Path.cwd().parent))
    found = run_provenance(["harness", "run", f"{Path.cwd()}/m.yaml", f"--results={Path.cwd()}"], "session", {})
    here = f"~/{Path.cwd().name}"
    assert found.command == ("harness", "run", f"{here}/m.yaml", f"--results={here}")
    assert found.working_directory == here


def test_a_password_on_the_command_line_is_not_told():
    """The rest of the word stays."""
    found = run_provenance(["harness", "run", "--results=https://ada:love@host:80/x"], "session", {})
    assert found.command[2] == "--results=https://…@host:80/x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ada", "~"),
        ("/home/ada/x y", "~/x y"),
        ("--x=/home/ada/y", "--x=~/y"),
        ("/home/adam", "/home/adam"),
        ("/data/home/ada", "/data/home/ada"),
        ("phase=infer", "phase=infer"),
    ],
)
def test_only_the_home_itself_is_shortened(monkeypatch, text, told):
    """A neighbour whose name begins alike and a folder that holds a home are not it."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert homeless(text) == told


def test_a_home_of_everybody_is_no_home(monkeypatch):
    """In a container without users the home is the root, which names nobody."""
    monkeypatch.setenv("HOME", "/")
    assert homeless("/data/x") == "/data/x"
