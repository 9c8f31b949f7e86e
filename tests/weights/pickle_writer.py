"""Writes what torch.save writes, and what it never would, without torch."""

import io
import pickle
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "uint16": "BFloat16Storage"}


class Named:
    """Pickled as the name of something, whether or not it exists here."""

    def __init__(self, name):
        self.module, self.name = name.rsplit(".", 1)


class Called:
    """Pickled as a call: what unpickling would run."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = Named(name), arguments


class Stored:
    """Pickled as torch's persistent id of a storage."""

    def __init__(self, key, kind, values):
        self.id = ("storage", Named(f"torch.{kind}"), key, "cpu", values)


class _Pickler(pickle._Pickler):
    def persistent_id(self, value):
        return value.id if isinstance(value, Stored) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Named):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Called):
            self.save(value.name)
            self.save(tuple(value.arguments))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value, protocol=2):
    """The bytes of a value that may hold the stand-ins above."""
    out = io.BytesIO()
    _Pickler(out, protocol).dump(value)
    return out.getvalue()


def tensor(key, values, shape, strides, *, offset=0, kind="FloatStorage"):
    """A tensor as torch describes it."""
    storage = Stored(key, kind, values)
    return Called("torch._utils._rebuild_tensor_v2", storage, offset, shape, strides, False, Called(ORDERED))


ORDERED = "collections.OrderedDict"


def write_archive(path, value, storages, *, compression=zipfile.ZIP_STORED, byteorder="little"):
    """A zip archive of torch's layout; `storages` are bytes by key."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", value if isinstance(value, bytes) else pickled(value))
        archive.writestr("archive/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write_state(path, arrays):
    """A state dict of arrays in C order; uint16 stands for the bits of bfloat16."""
    state, storages = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        strides = tuple(stride // array.itemsize for stride in np.empty(array.shape, array.dtype).strides)
        state[name] = tensor(str(number), array.size, array.shape, strides, kind=STORAGES[array.dtype.name])
        storages[str(number)] = array.tobytes()
    write_archive(path, state, storages)
