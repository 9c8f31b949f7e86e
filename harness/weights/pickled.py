"""What `torch.save` pickles, read without pickle: a small machine for the opcodes that a state dict is made of.

Pickle runs what a file names. This machine has no way to: names are looked up in one short table, and whatever is not
in it is refused by name. The standard library's `pickletools` cuts the bytes into opcodes, and calls nothing either.
"""

import io
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from harness.errors import WeightsError

STORAGE_TYPES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""The type of the values of each of torch's storages."""


class Storage(NamedTuple):
    """A run of values that tensors are windows of."""

    key: str
    dtype: str
    values: int


class StridedTensor(NamedTuple):
    """A window of a storage; offset and strides count values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """What a pickle wants imported; here it stays a name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def _mapping(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """A dict whose keys are plain: hashing nested ones may take for ever."""
    found = [(key, value) for key, value in pairs]
    if not all(isinstance(key, str | int | float | bytes) for key, _ in found):
        raise TypeError("the key of a mapping is neither text nor a number")
    return dict(found)


def _tensor(*arguments: Any) -> StridedTensor:
    storage, offset, shape, strides = arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a tensor is described by something else than its storage and numbers")
    return StridedTensor(storage, offset, tuple(shape), tuple(strides))


_CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "torch.Size": lambda numbers=(): tuple(numbers),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
}
_STORAGES = {f"torch.{name}": dtype for name, dtype in STORAGE_TYPES.items()}


def unpickle(stream: io.BytesIO) -> Any:
    """The next pickled value of a stream: numbers, text, bytes, lists, tuples, mappings and `StridedTensor`s.

    Raises:
        WeightsError: the pickle names something else, is damaged, or ends early; the message tells no file.
    """
    start = stream.tell()
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                break
            machine.take(opcode.name, argument)
        return machine.stack.pop()
    except WeightsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        where = f"cannot be read as tensors: the pickle at byte {start} is damaged or cut near byte {stream.tell()}"
        raise WeightsError(f"{where}: {' '.join(str(error).split()) or type(error).__name__}") from error


class _Machine:
    """A stack, a memo, and one method an opcode that does more than push its argument."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.marks: list[int] = []

    def take(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        if opcode in _PUSHED:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode not in _IGNORED:
            raise WeightsError(f"cannot be read as tensors: the pickle has the opcode {opcode}; no state dict has")

    def group(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def name(self, argument: Any) -> None:
        """GLOBAL: module and name in the argument; STACK_GLOBAL: on the stack."""
        if argument is None:
            name, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, name = argument.partition(" ")
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a name that is no text")
        wanted = _Name(module, name)
        if str(wanted) not in _CALLS and str(wanted) not in _STORAGES:
            raise WeightsError(
                f"cannot be read as tensors: the pickle names {wanted}; a state dict alone is needed: "
                "torch.save(model.state_dict(), path)"
            )
        self.stack.append(wanted)

    def call(self, _: Any) -> None:
        """REDUCE: one of the few calls of the table, on values that are no code."""
        arguments, wanted = self.stack.pop(), self.stack.pop()
        if not isinstance(wanted, _Name) or not isinstance(arguments, tuple):
            raise TypeError("a call of something that is not a name")
        self.stack.append(_CALLS[str(wanted)](*arguments))

    def storage(self, _: Any) -> None:
        """BINPERSID: torch's description of a storage."""
        word, kind, key, _location, values, *view = self.stack.pop()
        known = isinstance(kind, _Name) and isinstance(key, str) and type(values) is int and values >= 0
        if word != "storage" or not known or any(part is not None for part in view):
            raise ValueError("a storage is described in a way that is not known")
        self.stack.append(Storage(key, _STORAGES[str(kind)], values))

    def put(self, argument: Any) -> None:
        """Remember the top of the stack."""
        self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]

    def get(self, argument: Any) -> None:
        """Push what was remembered."""
        self.stack.append(self.memo[int(argument)])

    def forget_state(self, _: Any) -> None:
        """BUILD: attributes set on a mapping, such as torch's versions of modules; no tensor is among them."""
        self.stack.pop()

    def into_mapping(self, argument: Any, *, one: bool = False) -> None:
        """SETITEM and SETITEMS."""
        del argument
        values = [self.stack.pop(-2), self.stack.pop()] if one else self.group()
        cast("dict[Any, Any]", self.stack[-1]).update(_mapping(zip(values[::2], values[1::2], strict=True)))

    def into_list(self, argument: Any, *, one: bool = False) -> None:
        """APPEND and APPENDS."""
        del argument
        values = [self.stack.pop()] if one else self.group()
        cast("list[Any]", self.stack[-1]).extend(values)

    def tuple_of(self, count: int) -> None:
        """TUPLE1, TUPLE2, TUPLE3."""
        if len(self.stack) < count:
            raise LookupError("the stack is empty")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(values)


_IGNORED = frozenset({"PROTO", "FRAME"})
_TEXT = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_NUMBERS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"}
_PUSHED = frozenset(_TEXT | _NUMBERS | {"BINBYTES", "SHORT_BINBYTES"})
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.forget_state,
    "BINPERSID": _Machine.storage,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "SETITEM": lambda machine, _: machine.into_mapping(_, one=True),
    "SETITEMS": _Machine.into_mapping,
    "APPEND": lambda machine, _: machine.into_list(_, one=True),
    "APPENDS": _Machine.into_list,
    "ADDITEMS": _Machine.into_list,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.group())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
}
