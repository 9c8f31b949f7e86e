"""Reading what torch.save writes, and refusing what it would never write; torch itself writes in tests/torch_impl."""

import pickle
import resource
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_writer import ORDERED, Called, Named, pickled, tensor, write_archive, write_state

from harness.errors import WeightsError
from harness.weights import read_tensors
from harness.weights.files import read_contents


def refusal(path):
    """The one line that says why a file is not read."""
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line.removeprefix(f"{path} ")


def test_tensors_come_back_with_their_types(tmp_path):
    """Values, shapes and types are those of the file; bfloat16 is widened to float32, which holds every one of them."""
    path = tmp_path / "w.pth"
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], np.uint16)
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.array([1.5, -0.1], np.float16),
        "count": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "brain": bits,
    }
    write_state(path, arrays)
    read = read_tensors(path)
    for name in ("a", "half", "count", "empty"):
        assert read[name].dtype == arrays[name].dtype
        assert np.array_equal(read[name], arrays[name])
    assert read["brain"].tolist() == [1.0, -2.0, float("inf"), struct.unpack("<f", struct.pack("<I", 1 << 16))[0]]


@pytest.mark.parametrize("entry", ["model", "state_dict", "state_dict_ema"])
def test_a_checkpoint_gives_its_state_dict(tmp_path, entry):
    """Of a training's checkpoint the weights are taken, and which entry they were is told."""
    path = tmp_path / "w.pth"
    state = {"a": tensor("0", 2, (2,), (1,))}
    write_archive(path, {entry: state, "epoch": 3, "best": 0.5, "args": None}, {"0": bytes(8)})
    contents = read_contents(path)
    assert (contents.entry, list(contents.tensors), contents.container) == (entry, ["a"], "torch zip")


def test_the_average_of_a_training_is_preferred(tmp_path):
    """Where a checkpoint has averaged weights beside the last ones, the averaged are the ones to evaluate."""
    path = tmp_path / "w.pth"
    states = {"state_dict": {"a": tensor("0", 1, (1,), (1,))}, "state_dict_ema": {"a": tensor("1", 1, (1,), (1,))}}
    write_archive(path, states, {"0": struct.pack("<f", 1), "1": struct.pack("<f", 2)})
    assert read_tensors(path)["a"].tolist() == [2.0]


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_no_code_of_a_file_is_run(tmp_path, protocol):
    """What a pickle wants to run is refused and does not run, in every protocol and in both containers."""
    trace = tmp_path / "ran"
    path = tmp_path / "w.pth"
    data = pickle.dumps({"a": Evil(f"touch {trace}")}, protocol)
    write_archive(path, data, {})
    assert refusal(path).startswith("cannot be read as tensors: the pickle ")
    path.write_bytes(data)
    refusal(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "os.system", "numpy.core.multiarray._reconstruct", "torch.load"]
)
def test_names_that_are_no_tensor_are_refused(tmp_path, name):
    """A name is refused where it stands, called or not, in a state dict or beside it."""
    path = tmp_path / "w.pth"
    for value in (Named(name), Called(name, "1"), {"model": {"a": tensor("0", 1, (1,), (1,))}, "x": Named(name)}):
        write_archive(path, value, {"0": bytes(4)})
        assert refusal(path).startswith(f"cannot be read as tensors: the pickle names {name}; ")


def test_calls_of_the_table_take_plain_values_only(tmp_path):
    """The few calls that stand in the table cannot be fed with something that is costly or of no sense."""
    path = tmp_path / "w.pth"
    tensors = [tensor("0", 4, (2, 2), (2, -1)), tensor("0", 4, (2,), (1,), offset=-1), tensor("0", 4, ("2",), (1,))]
    for value in (*tensors, Called("torch.FloatStorage", 3), Called(ORDERED, [(((),), 1)]), {((1,),): 2}):
        write_archive(path, value, {"0": bytes(16)})
        assert "is damaged" in refusal(path)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((5,), (1,), 0),
        ((2,), (1,), 3),
        ((2, 2), (3, 1), 0),
        ((1 << 40,), (0,), 0),
        ((2, 2), (1,), 0),
        ((1,) * 9, (1,) * 9, 0),
    ],
)
def test_a_tensor_stays_within_its_storage(tmp_path, shape, strides, offset):
    """Windows beyond the storage, and ones of more values than it has, are refused."""
    path = tmp_path / "w.pth"
    write_archive(path, {"a": tensor("0", 4, shape, strides, offset=offset)}, {"0": bytes(16)})
    assert refusal(path).startswith("is damaged: tensor 'a' of shape ")


def test_storages_are_as_long_as_they_say(tmp_path):
    """A missing storage, and one of another size, are named."""
    path = tmp_path / "w.pth"
    state = {"a": tensor("0", 4, (4,), (1,))}
    write_archive(path, state, {})
    assert refusal(path) == "is damaged: storage '0' is missing; 16 bytes are needed"
    write_archive(path, state, {"0": bytes(12)})
    assert refusal(path) == "is damaged: storage '0' has 12 bytes; 16 bytes are needed"


def test_a_bomb_is_not_unpacked(tmp_path):
    """Compressed members, which torch does not write and which may unpack to any size, are refused."""
    path = tmp_path / "w.pth"
    write_archive(
        path, {"a": tensor("0", 1 << 20, (1 << 20,), (1,))}, {"0": bytes(4 << 20)}, compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 1 << 16
    assert refusal(path).startswith("has the compressed member ")


def test_a_pickle_of_few_bytes_takes_little_memory(tmp_path):
    """A memo of two thousand million places, and nested doubled lists, cost what their bytes cost."""
    path = tmp_path / "w.pth"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    far = pickle.PROTO + b"\x02" + pickle.NONE + pickle.LONG_BINPUT + struct.pack("<I", 0x7FFFFFFF) + pickle.STOP
    doubled = []
    for _ in range(60):
        doubled = [doubled, doubled]
    for value in (far, doubled, {"a": doubled}):
        write_archive(path, value, {})
        assert refusal(path).startswith("holds no state dict; a mapping of names to tensors is needed")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_files_of_other_machines_and_programs_are_refused(tmp_path):
    """Big-endian files, other zip archives, other pickles and other files are told apart."""
    path = tmp_path / "w.pth"
    write_archive(path, {"a": tensor("0", 1, (1,), (1,))}, {"0": bytes(4)}, byteorder="big")
    assert refusal(path) == "was written on a big-endian machine; save it anew on a little-endian one"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refusal(path) == "is a zip archive without torch's data.pkl; a file of torch.save is needed"
    path.write_bytes(pickled([1, 2]) + pickled(3))
    assert refusal(path) == "cannot be read as tensors: it is a pickle but no file of torch.save"
    path.write_bytes(b"GIF89a" + bytes(50))
    assert refusal(path) == "cannot be read as tensors: it is neither safetensors nor a file of torch.save"
    path.write_bytes(b"")
    refusal(path)


def test_a_path_that_cannot_be_read_is_one_line(tmp_path):
    """A missing file and a folder are named with the system's reason."""
    for path, reason in ((tmp_path / "none.pth", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(WeightsError, match=f"^cannot read .*: {reason}$"):
            read_tensors(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The bytes of a small file, and where to put others."""
    path = tmp_path_factory.mktemp("cut") / "w.pth"
    write_state(path, {"a": np.arange(100, dtype=np.float32), "b": np.ones((3, 3), np.float16)})
    return path.read_bytes(), path


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cut_and_changed_files_are_read_whole_or_refused(archive, data):
    """Of any file either the right tensors come or one line; never an error of another kind, never wrong values."""
    whole, path = archive
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    changed = (
        whole[:place]
        if cut
        else whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    )
    path.write_bytes(changed)
    try:
        read = read_tensors(path)
    except WeightsError as error:
        assert "\n" not in str(error)  # noqa: PT017  whether it raises is open
        return
    assert sorted(read) == ["a", "b"]
    assert read["a"].tolist() == list(range(100))
    assert read["b"].tolist() == [[1.0] * 3] * 3
