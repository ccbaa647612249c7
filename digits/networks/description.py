"""The description of a checkpoint, its JSON file: every field is checked as the settings in a YAML file are."""

import unicodedata
from pathlib import Path
from typing import Any

from digits.cli import InputError
from digits.config import FIELDS, check_setting
from digits.text import clip

MAX_CLASSES = 10_000
MAX_CLASS_LETTERS = 255  # as in the name of a folder

_CALIBRATION = {  # number: smallest and largest value
    "temperature": (0.01, 100.0),
    "digit_level": (-1e9, 1e9),
    "trusted_threshold": (0.0, 1.0),
    "guaranteed_threshold": (0.0, 1.0),
    "candidate_threshold": (0.0, 1.0),
}
_METRICS = ("images", "accuracy", "precision", "recall", "macro_f1")  # of a measured split
_CLASS_METRICS = ("images", "precision", "recall", "f1")
_LARGEST = 1e15  # no metric is larger


def check_description(path: Path, meta: dict[str, Any]) -> None:
    """Check the fields of a checkpoint's JSON file that this program reads; all but `classes` and `model` are optional.

    Raises:
        InputError: a field has the wrong type, or its value is out of range.
    """
    where = f"checkpoint {path}"
    if not isinstance(meta.get("classes"), list) or not _is_object(meta, "model", "name"):
        raise InputError(f"{where}: it does not say which network and classes it has")
    check_classes(where, meta["classes"])
    model, config = meta["model"], meta.get("config", {})
    if not isinstance(model["name"], str):
        raise InputError(f"{where}: model.name: '{clip(model['name'])}' is not text")
    if not isinstance(config, dict):
        raise InputError(f"{where}: config: expected names and values, not a {type(config).__name__}")
    for part, settings in (("model", model), ("config", config)):
        for name in settings.keys() & FIELDS.keys():
            check_setting(f"{where}: {part}.{name}", name, settings[name])
    _check_numbers(f"{where}: epoch", {"epoch": meta.get("epoch", 0)}, {"epoch": (0, 100_000)})
    _check_calibration(where, meta.get("calibration"))
    _check_metrics(where, meta.get("metrics", {}))


def check_classes(where: str, classes: list[Any]) -> None:
    """Check the names of the classes.

    Raises:
        InputError: there are none or too many, two are equal, or a name is not a short text without control characters;
            the message starts with `where`.
    """
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise InputError(f"{where}: has {len(classes):,} classes; expected 1 to {MAX_CLASSES:,}")
    for name in classes:
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_CLASS_LETTERS:
            raise InputError(
                f"{where}: '{clip(name)}' is not the name of a class; it must be a text of 1 to {MAX_CLASS_LETTERS} "
                "letters"
            )
        if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
            raise InputError(f"{where}: the name of the class {clip(name)!a} has control characters; rename it")
    if len(set(classes)) < len(classes):
        raise InputError(f"{where}: two classes have the same name")


def _check_calibration(where, found):
    if found is None or found == {}:  # never calibrated
        return
    if not isinstance(found, dict):
        raise InputError(f"{where}: its calibration is not complete: '{clip(found)}'; restore the file, or train again")
    stated = dict(found)
    if stated.get("guaranteed_threshold", 0) is None:  # no prediction is trusted
        stated["guaranteed_threshold"] = 0.0
    if stated.get("candidate_threshold") is None:  # calibrated before candidates were
        stated["candidate_threshold"] = 0.0
    if not isinstance(stated.get("reject_class", False), bool):
        raise InputError(f"{where}: its calibration is not complete: reject_class is not true or false; train again")
    _check_numbers(f"{where}: its calibration is not complete", stated, _CALIBRATION)


def _check_metrics(where, metrics):
    if not isinstance(metrics, dict):
        raise InputError(f"{where}: metrics: '{clip(metrics)}'; restore the file, or train again")
    for part in metrics.keys() & {"val", "test"}:
        if (measured := metrics[part]) is None:
            continue
        place = f"{where}: metrics.{part}"
        if not isinstance(measured, dict):
            raise InputError(f"{place}: '{clip(measured)}'; restore the file, or train again")
        if part == "val" and "per_class" not in measured:  # as measured after the epoch
            _check_numbers(place, measured, dict.fromkeys(["accuracy"], (0, 1)))
            continue
        _check_numbers(place, measured, dict.fromkeys(_METRICS, (0, _LARGEST)))
        rows = measured.get("per_class")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{place}.per_class: expected one row per class; restore the file, or train again")
        for row in rows:
            _check_numbers(f"{place}.per_class", row, dict.fromkeys(_CLASS_METRICS, (0, _LARGEST)))


def _check_numbers(where, values, ranges):
    for name, (low, high) in ranges.items():
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InputError(
                f"{where}: {name} is '{clip(value)}', and must be a number from {low:g} to {high:g}; "
                "restore the file, or train again"
            )


def _is_object(meta, name, key):
    return isinstance(meta.get(name), dict) and key in meta[name]
