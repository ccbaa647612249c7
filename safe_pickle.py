"""Pickles from strangers: `.pdparams` files and a mirror of MNIST are pickles, and a pickle can run any code."""

import collections
import io
import pickle

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


class UnsafePickle(ValueError):
    """The pickle asks for something other than numpy arrays and plain containers."""


def loads(data: bytes):
    """Unpickle numpy arrays, numbers, text and plain containers; nothing else is imported and nothing is run.

    Raises:
        UnsafePickle: the data names any other class or function.
        ValueError: the data is no pickle, or is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
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
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a readable pickle ({reason})") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise UnsafePickle(f"it asks for {f'{module}.{name}'!a}, which no file of weights needs")
        return _ADMITTED[module, name]
