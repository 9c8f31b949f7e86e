"""Versions inside frameworks, read from what their installations left."""

import subprocess
import sys

import pytest

from harness.measure.software import read_software
from harness.schema.system import Software

TORCH = "__version__ = '9.1.0+cu120'\ndebug = False\ncuda: Optional[str] = {cuda}\ngit_version = 'abcdef'\nhip = None\n"
TENSORFLOW = (
    "build_info = OrderedDict([('cpu_compiler', 'clang'), ('cuda_version', '12.5.1'), ('cudnn_version', '9')])\n"
)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make up installed distributions in a folder that Python looks into first."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name, version, files=()):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for path, text in dict(files).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)

    return installed


def test_torch_says_its_build_and_loads_the_packages_of_its_cuda(install):
    """The variant, commit and CUDA of the build; of NVIDIA's packages those of the same CUDA release."""
    install("torch", "9.1.0", {"torch/version.py": TORCH.format(cuda="'12.4'")})
    install("nvidia-cudnn-cu12", "9.9.1")
    install("nvidia-cudnn-cu11", "8.1.0")
    install("nvidia-nccl-cu12", "2.99.1")
    install("nvidia-cuda-runtime-cu12", "12.4.127")
    assert read_software(["torch", "torchvision"]) == Software(
        framework="9.1.0+cu120",
        framework_commit="abcdef",
        cuda_build="12.4",
        cuda_runtime="12.4.127",
        cudnn="9.9.1",
        nccl="2.99.1",
    )


def test_packages_without_a_suffix_count_by_their_version(install):
    """From CUDA 13 on the toolkit's packages have plain names; one of another release is not what a framework loads."""
    install("torch", "9.1.0", {"torch/version.py": TORCH.format(cuda="'14.0'")})
    install("nvidia-cuda-runtime", "14.0.96")
    install("nvidia-cublas", "13.9.0")
    found = read_software(["torch"])
    assert (found.cuda_runtime, found.cublas) == ("14.0.96", None)


def test_a_build_without_cuda_has_no_cuda(install):
    """No library of NVIDIA is named, though some are installed."""
    install("torch", "9.1.0", {"torch/version.py": TORCH.format(cuda="None")})
    install("nvidia-cudnn-cu12", "9.9.1")
    assert read_software(["torch"]) == Software(framework="9.1.0+cu120", framework_commit="abcdef")


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-cpu"])
def test_tensorflow_says_what_it_was_built_with(install, name):
    """Its version is its distribution's, CUDA and cuDNN are those of its build file."""
    install(name, "8.7.6", {"tensorflow/python/platform/build_info.py": TENSORFLOW})
    assert read_software([name]) == Software(framework="8.7.6", cuda_build="12.5.1", cudnn_build="9")


def test_what_is_not_installed_is_unknown(install):
    """A backend whose framework is missing, one whose files are, and one that names none."""
    install("torch", "9.1.0")
    assert read_software(["no-such-framework"]) == Software()
    assert read_software([]) == Software()
    assert (read_software(["torch"]).framework, read_software(["torch"]).cuda_build) == ("9.1.0", None)


def test_no_framework_is_imported():
    """Reading the versions of both frameworks loads neither."""
    program = (
        "import sys; from harness.measure.software import read_software\n"
        "read_software(['torch']); read_software(['tensorflow'])\n"
        "print({'torch', 'tensorflow'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"
