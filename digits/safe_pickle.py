"""Pickles from strangers: `.pdparams` files and a mirror of MNIST are pickles, and a pickle can run any code."""

import collections
import io
import pickle
import pickletools

import numpy as np


def _encode(text, encoding):
    """How protocol 2 writes bytes; no other encoding is looked up."""
    return text.encode("latin1")


# Everything a file of arrays in plain containers asks for by name. numpy 1 and 2 name the same functions differently.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_SCALAR = np.float32(0).__reduce__()[0]
_ADMITTED = {
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
_MOST_TUPLES = 20_000  # an array takes four; nested without end, they overflow the stack


class UnsafePickle(ValueError):
    """The pickle asks for something other than numpy arrays and plain containers."""


def loads(data: bytes):
    """Unpickle numpy arrays, numbers, text and plain containers; nothing else is imported and nothing is run.

    Raises:
        UnsafePickle: the data names any other class or function, or is built to crash who reads it.
        ValueError: the data is no pickle, or is damaged.
    """
    try:
        tuples = sum(opcode.name.startswith("TUPLE") for opcode, _, _ in pickletools.genops(data))
        if tuples > _MOST_TUPLES:
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
    """An array of Python objects would take what is in the file for addresses."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "biufSU":
        raise UnsafePickle(f"it holds an array of {value.dtype!s:.40}")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _check_arrays(part)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise UnsafePickle(f"it asks for {f'{module}.{name}'!a}, which no file of weights needs")
        return _ADMITTED[module, name]
