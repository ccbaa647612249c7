"""A safe unpickler. `.pdparams` files and a mirror of MNIST are pickles, and a pickle can run any code."""

import collections
import io
import pickle
import pickletools
from typing import ClassVar

import numpy as np

_MAX_DEPTH = 8  # tuples within tuples; an array needs three
_MAX_ITEM_BYTES = 1024  # of one array element
_OPCODES = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT"),
}  # those that a file of arrays in plain containers needs


class UnsafePickle(ValueError):
    """The pickle needs something other than NumPy arrays and plain containers."""


def loads(data: bytes):
    """Unpickle NumPy arrays, numbers, text and plain containers; import nothing else and run nothing.

    Time and memory are bounded by the length of the data.

    Raises:
        UnsafePickle: the data names another class or function, or is built to crash or to stall its reader.
        ValueError: the data is not a pickle, or is damaged.
    """
    try:
        for opcode, _, _ in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise UnsafePickle(f"it uses the opcode {opcode.name}, which no file of weights needs")
        value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        _check_arrays(value, set())
        return value
    except UnsafePickle:
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        AssertionError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a readable pickle ({reason:.100})") from None


def _array(kind, shape, _):
    """Stand in for NumPy's `_reconstruct`, which would allocate any shape: the data of the array comes with BUILD."""
    if kind is not _ARRAY or shape != (0,):
        raise UnsafePickle("it holds an array that is not one")
    return np.zeros(0, np.uint8)


def _dtype(text, *_):
    dtype = np.dtype(text)
    if dtype.kind not in "biufSU" or dtype.itemsize > _MAX_ITEM_BYTES:
        raise UnsafePickle(f"it holds an array of {dtype!s:.40}")
    return dtype


def _encode(text, _):
    """Encode as pickle protocol 2 does for bytes; other encodings are not looked up."""
    return text.encode("latin1")


# Every name that a file of arrays in plain containers needs. NumPy 1 and 2 name the same functions differently.
_ARRAY = object()
_SCALAR = np.float32(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("collections", "OrderedDict"): lambda: collections.OrderedDict(),
    ("builtins", "tuple"): lambda items=(): tuple(items),
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",  # protocol 2's data of an empty array
}


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python: its memo is a dict, so that a huge memo index takes no memory."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, file, **options):
        super().__init__(file, **options)
        self.depths = {id(()): (1, ())}  # of every tuple; kept with the tuple, so that its id stays its own

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise UnsafePickle(f"it asks for {f'{module}.{name}'!a:.100}, which no file of weights needs")
        return _ALLOWED[module, name]

    def _load_tuple(self, load):
        load(self)
        value = self.stack[-1]
        depth = 1 + max((self.depths[id(part)][0] for part in value if isinstance(part, tuple)), default=0)
        if depth > _MAX_DEPTH:
            raise UnsafePickle("it nests too deeply")
        self.depths[id(value)] = depth, value

    def _load_items(self, load):
        items = self.stack if load is not pickle._Unpickler.load_setitem else self.stack[-2:]
        if not all(isinstance(key, str | int) for key in items[::2]):  # to hash nested tuples may never end
            raise UnsafePickle("it has a key that is neither text nor a number")
        load(self)


def _guarded(guard, load):
    return lambda self: guard(self, load)


for _name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
    _code = getattr(pickle, _name)[0]
    _Unpickler.dispatch[_code] = _guarded(_Unpickler._load_tuple, pickle._Unpickler.dispatch[_code])
for _name in ("DICT", "SETITEM", "SETITEMS"):
    _code = getattr(pickle, _name)[0]
    _Unpickler.dispatch[_code] = _guarded(_Unpickler._load_items, pickle._Unpickler.dispatch[_code])


def _check_arrays(value, seen):
    """Refuse arrays of Python objects, which would take bytes of the file for addresses."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "biufSU":
        raise UnsafePickle(f"it holds an array of {value.dtype!s:.40}")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _check_arrays(part, seen)
