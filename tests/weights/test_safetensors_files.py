"""Safetensors files: what is written, the library reads; what is broken is refused; nothing is half written."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.errors import WeightsError
from harness.weights import read_tensors, write_tensors
from harness.weights.files import read_contents

TYPES = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_])
ARRAYS = TYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))


@settings(max_examples=25, deadline=None)
@given(tensors=st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"), ARRAYS))
def test_the_library_reads_what_is_written(tmp_path_factory, tensors):
    """Every type and shape, in any order of strides, comes back by the safetensors library and by ours."""
    path = tmp_path_factory.getbasetemp() / "w.safetensors"
    write_tensors(path, {name: value.T for name, value in tensors.items()}, {"layout": "tf", "model": "maskrcnn"})
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == {"layout": "tf", "model": "maskrcnn"}
    for read in (safetensors.numpy.load_file(path), read_tensors(path)):
        assert read.keys() == tensors.keys()
        for name, value in tensors.items():
            assert read[name].dtype == value.dtype
            assert read[name].shape == value.T.shape
            assert read[name].tobytes() == value.T.tobytes()


def test_what_the_library_writes_is_read(tmp_path):
    """Its metadata and tensors, bfloat16 widened to float32."""
    path = tmp_path / "w.safetensors"
    bits = np.array([0x3F80, 0xC000], np.uint16)
    spec = safetensors.TensorSpec(dtype="bfloat16", shape=[2], data_ptr=bits.ctypes.data, data_len=4)
    safetensors.serialize_file({"brain": spec}, path, metadata={"layout": "torch"})
    contents = read_contents(path)
    assert contents.metadata == {"layout": "torch"}
    assert contents.tensors["brain"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("keep", [0, 5, 30, -1])
def test_a_cut_file_is_one_line(tmp_path, keep):
    """A file that ends early, within its header or its tensors, is refused."""
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": np.zeros(9, np.float32)}, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        WeightsError, match=r"^[^\n]*w.safetensors (is no whole safetensors file: |cannot be read )[^\n]*$"
    ):
        read_tensors(path)


def test_only_safetensors_are_written(tmp_path):
    """Another ending is refused before anything is written, and so are types that no file has."""
    with pytest.raises(WeightsError, match=r"w.pth does not end in .safetensors, the one format that is written$"):
        write_tensors(tmp_path / "w.pth", {}, {})
    with pytest.raises(WeightsError, match=r"^'a' is complex128; one of "):
        write_tensors(tmp_path / "w.safetensors", {"a": np.zeros(1, complex)}, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(tmp_path):
    """The target's folder is not made: it may be a misspelling."""
    with pytest.raises(WeightsError, match=r"^cannot write .*/none/w.safetensors: No such file or directory$"):
        write_tensors(tmp_path / "none" / "w.safetensors", {}, {})


FULL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from harness.errors import WeightsError
from harness.weights import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_tensors(Path(sys.argv[1]), {"a": np.ones(100_000, np.float32)}, {})
except WeightsError as error:
    print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path):
    """A write that the system stops is one line; the old file stays whole and no other is left behind."""
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": np.zeros(3, np.float32)}, {})
    before = path.read_bytes()
    run = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
