"""The unpickler: arrays in plain containers pass; anything else is refused before it runs."""

import builtins
import collections
import os
import pickle
import subprocess

import numpy as np
import pytest

from digits import safe_pickle


@pytest.mark.parametrize("protocol", [2, 3, 4])  # paddle.save writes these
def test_arrays_numbers_and_plain_containers_pass(protocol):
    value = {
        "empty": np.zeros((0, 3), np.float32),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.float64(1.5),
        "ordered": collections.OrderedDict(a=1),
        "plain": [1, 2.5, "text", None, True, (1,)],
    }
    loaded = safe_pickle.loads(pickle.dumps(value, protocol))
    for name in ("array", "empty"):
        np.testing.assert_array_equal(loaded.pop(name), value.pop(name), strict=True)
    assert loaded == value


class Attack:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function", [os.system, subprocess.call, builtins.eval, builtins.exec, builtins.getattr, builtins.open, np.load]
)
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, function):
    witness = tmp_path / "witness"
    data = pickle.dumps({"w": Attack(function, f"touch {witness}")}, 4)
    with pytest.raises(safe_pickle.UnsafePickle, match="it asks for"):
        safe_pickle.loads(data)
    assert not witness.exists()


def test_files_made_to_crash_the_reader_are_refused():
    nested = b"\x80\x04N" + b"\x85" * 400_000 + b"."
    with pytest.raises(safe_pickle.UnsafePickle, match="nests too deeply"):
        safe_pickle.loads(nested)
    objects = pickle.dumps({"w": np.array([None, 1], object)}, 4)
    with pytest.raises(safe_pickle.UnsafePickle, match="array of object"):
        safe_pickle.loads(objects)


def test_an_allowed_module_gives_no_access_to_other_names():
    """A dotted name could reach through the attributes of an allowed class."""
    for module, name in (("numpy", "ndarray.__class__"), ("numpy", "f2py"), ("builtins", "tuple.__subclasses__")):
        data = b"\x80\x04" + pickle.SHORT_BINUNICODE + bytes([len(module)]) + module.encode()
        data += pickle.SHORT_BINUNICODE + bytes([len(name)]) + name.encode() + pickle.STACK_GLOBAL + b"."
        with pytest.raises(safe_pickle.UnsafePickle):
            safe_pickle.loads(data)


def test_damage_anywhere_is_a_value_error_or_harmless():
    whole = pickle.dumps({"weight": np.arange(50, dtype=np.float32)}, 4)
    for length in range(len(whole)):
        with pytest.raises(ValueError):
            safe_pickle.loads(whole[:length])
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            safe_pickle.loads(bytes(damaged))
        except ValueError as error:
            assert "\n" not in str(error)
