"""Checkpoints: weights as paddle.save writes them, and a JSON file that describes them. Strict, safe, atomic."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from digits import safe_pickle
from digits.cli import InputError
from digits.files import project_path, replacing, seal, unseal
from digits.networks.description import check_description

SHIPPED = project_path("checkpoints/shipped/extended")  # the default checkpoint

_MAX_META_BYTES = 10_000_000  # of a checkpoint's JSON file
_MAX_PAIRS = 12  # names of weights in an error message
_PARAMETER_NAMES = "StructuredToParameterName@@"  # paddle.save's own entry in a file of weights
_TUTORIAL = {"model": {"name": "lenet", "activation": "sigmoid"}, "classes": list("0123456789")}


@dataclass(frozen=True)
class Checkpoint:
    """Weights (name to float array) and the contents of their JSON file."""

    path: Path
    weights: dict[str, np.ndarray]
    meta: dict


def save_checkpoint(directory: str | Path, name: str, model: paddle.nn.Layer, meta: dict) -> None:
    """Write `name.pdparams` with the model's weights, and `name.json` with `meta` and their SHA-256.

    The two are a valid pair at any moment: while the weights are being replaced, the JSON file describes both the new
    weights and, as `previous`, the old ones.
    """
    path = Path(directory) / f"{name}.pdparams"
    with replacing(path) as temporary:
        paddle.save(model.state_dict(), str(temporary))
        meta = {**meta, "sha256": _sha256(temporary.read_bytes())}
        previous = _previous(path)
        save_meta(path, {**meta, "previous": previous} if previous else meta)
    if previous:
        save_meta(path, meta)


def save_meta(weights_path: Path, meta: dict) -> None:
    """Write the JSON file that describes a file of weights."""
    with replacing(weights_path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, also while a training is replacing it.

    Args:
        path: a folder with `best.pdparams` and `best.json`, or a `.pdparams` file with its JSON file beside it. Without
            a JSON file of ours it is read as weights that the tutorial saved.

    Raises:
        InputError: a file is missing, damaged or hostile, or the two files do not belong together.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"checkpoint {path}: no such file or folder; train one with python train.py, "
            "or omit --checkpoint to use the shipped weights"
        )
    weights_path = path / "best.pdparams" if path.is_dir() else path
    if not weights_path.exists():
        raise InputError(
            f"checkpoint {path}: there is no best.pdparams in this folder; its training may not have completed an epoch"
        )
    if weights_path.suffix != ".pdparams":
        raise InputError(f"checkpoint {path}: expected a folder, or a .pdparams file")
    meta_path = weights_path.with_suffix(".json")
    if path.is_file() and not _is_ours(meta_path):
        print(
            f"{path}: no {meta_path.name} of a training beside it, so it is read as the tutorial's LeNet with sigmoids",
            file=sys.stderr,
        )
        return Checkpoint(path, read_weights(path), _TUTORIAL)
    data, meta = _read_pair(weights_path)
    check_description(meta_path, meta)
    return Checkpoint(weights_path, _arrays(_unpickle(weights_path, data), weights_path), meta)


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read any `.pdparams` file of one network, name to array, without running code that it may contain.

    Raises:
        InputError: the file does not exist, or is not a pickle of named arrays.
    """
    path = Path(path)
    return _arrays(_unpickle(path, _read(path)), path)


def load_weights(model: paddle.nn.Layer, weights: dict[str, np.ndarray], source: str | Path) -> None:
    """Set all weights of a network, and nothing else.

    Args:
        source: where the weights come from, used in error messages.

    Raises:
        InputError: a weight is missing or unknown, has another shape, or is not finite.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = [f"{name} is missing" for name in expected if name not in weights]
    for name, array in weights.items():
        if name not in expected:
            wrong.append(f"{name} is not in the network")
        elif array.shape != expected[name]:
            wrong.append(f"{name} is {list(array.shape)}, the network's is {list(expected[name])}")
        elif array.dtype == np.uint16:
            wrong.append(f"{name} is bfloat16, expected float32")
        elif not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            wrong.append(f"{name} is not all finite floats")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        problem = f"not weights of {type(model).__name__}: {'; '.join(wrong[:3])}{more}{_fits(weights, expected)}"
        raise InputError(f"checkpoint {source}: {problem}")
    model.set_state_dict({name: array.astype(np.float32) for name, array in weights.items()})


def save_state(path: str | Path, state: dict) -> None:
    """Write the state of a training run (arrays and numbers in plain containers) with paddle.save, and its checksum."""
    with replacing(path) as temporary:
        paddle.save(state, str(temporary))
        temporary.write_bytes(seal(temporary.read_bytes()))


def read_state(path: str | Path) -> dict:
    """Read a file written by `save_state`.

    Raises:
        InputError: the file does not exist, is damaged, or is not a dict of arrays and plain containers.
    """
    path = Path(path)
    data = _read(path)
    try:
        return _unpickle(path, unseal(data))
    except ValueError as error:
        raise InputError(f"checkpoint {path}: damaged or not the state of a run: {error}; start a new run") from None


def _read(path):
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file")
    return path.read_bytes()


def _read_pair(weights_path):
    """Read the weights and their description; read both again if a training replaced a file in between."""
    last = None
    while True:
        meta, data = _read_meta(weights_path), weights_path.read_bytes()
        digest = _sha256(data)
        for described in (meta, meta.get("previous")):
            if isinstance(described, dict) and described.get("sha256") == digest:
                return data, {key: value for key, value in described.items() if key != "previous"}
        if (meta, digest) == last:
            raise InputError(
                f"checkpoint {weights_path}: damaged or changed: its SHA-256 differs from the one in "
                f"{weights_path.with_suffix('.json').name}; restore it, or train again"
            )
        last = meta, digest


def _fits(weights, expected):
    """Say which of the weights with foreign names have the shapes that the network lacks, in order; "" if none has."""
    foreign = {name: array.shape for name, array in weights.items() if name not in expected}
    pairs, transposed = [], False
    for name, shape in expected.items():
        fitting = [other for other in foreign if foreign[other] == shape]
        fitting += [other for other in foreign if foreign[other] == shape[::-1] and len(shape) == 2]
        if name not in weights and fitting:
            transposed |= foreign.pop(fitting[0]) != shape
            pairs.append(f"{fitting[0]} fits {name}")
    if not pairs:
        return ""
    hint = "rename them" + (" and transpose the matrices" if transposed else "")
    return f"; by the shapes, {', '.join(pairs[:_MAX_PAIRS])}{', ...' if len(pairs) > _MAX_PAIRS else ''}: {hint}"


def _previous(weights_path):
    """Return the description of the weights that are being replaced; None if there are none that fit."""
    try:
        old = load_checkpoint(weights_path).meta if _is_ours(weights_path.with_suffix(".json")) else None
    except InputError:
        return None
    return old


def _is_ours(meta_path):
    """Whether it is the JSON file of a checkpoint, damaged or not; paddle.jit.save writes others."""
    try:
        meta = json.loads(meta_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (ValueError, RecursionError, OSError):
        return True
    return not isinstance(meta, dict) or bool(meta.keys() & {"sha256", "model", "classes"})


def _read_meta(weights_path):
    meta_path = weights_path.with_suffix(".json")
    try:
        if meta_path.stat().st_size > _MAX_META_BYTES:
            raise ValueError
        meta = json.loads(meta_path.read_text(encoding="utf-8"))
        if not isinstance(meta["sha256"], str):
            raise ValueError
        return meta
    except FileNotFoundError:
        raise InputError(
            f"checkpoint {weights_path}: {meta_path.name}, which describes the network, is missing"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"checkpoint {meta_path}: not a checkpoint's JSON; restore the file, or train again") from None


def _unpickle(path, data):
    try:
        state = safe_pickle.loads(data)
    except safe_pickle.UnsafePickle as error:
        raise InputError(f"checkpoint {path}: refused, {error}; no code of it was run") from None
    except ValueError as error:
        raise InputError(f"checkpoint {path}: damaged or not a checkpoint: {error}") from None
    if not isinstance(state, dict):
        raise InputError(f"checkpoint {path}: holds a {type(state).__name__}, not named weights")
    return state


def _arrays(state, path):
    weights = {name: array for name, array in state.items() if name != _PARAMETER_NAMES}
    if not weights or not all(isinstance(array, np.ndarray) for array in weights.values()):
        raise InputError(f"checkpoint {path}: not a file of weights as written by paddle.save(model.state_dict(), ...)")
    return weights


def _sha256(data):
    return hashlib.sha256(data).hexdigest()
