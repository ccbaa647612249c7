"""A safe unpickler. `.pdparams` files and a mirror of MNIST are pickles, and a pickle can run any code."""

import collections
import io
import pickle
import pickletools

import numpy as np


def _encode(text, encoding):
    """Encode as pickle protocol 2 does for bytes; other encodings are not looked up."""
    return text.encode("latin1")


# Every name that a file of arrays in plain containers needs. NumPy 1 and 2 name the same functions differently.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_SCALAR = np.float32(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "tuple"): tuple,
    ("_codecs", "encode"): _encode,
}
_MAX_TUPLES = 20_000  # an array takes four; deep nesting would overflow the stack


class UnsafePickle(ValueError):
    """The pickle needs something other than NumPy arrays and plain containers."""


def loads(data: bytes):
    """Unpickle NumPy arrays, numbers, text and plain containers; import nothing else and run nothing.

    Raises:
        UnsafePickle: the data names another class or function, or is built to crash its reader.
        ValueError: the data is not a pickle, or is damaged.
    """
    try:
        tuples = sum(opcode.name.startswith("TUPLE") for opcode, _, _ in pickletools.genops(data))
        if tuples > _MAX_TUPLES:
            raise UnsafePickle("it nests too deeply")
        value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        _check_arrays(value)
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
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a readable pickle ({reason})") from None


def _check_arrays(value):
    """Refuse arrays of Python objects, which would take bytes of the file for addresses."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "biufSU":
        raise UnsafePickle(f"it holds an array of {value.dtype!s:.40}")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _check_arrays(part)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise UnsafePickle(f"it asks for {f'{module}.{name}'!a}, which no file of weights needs")
        return _ALLOWED[module, name]
