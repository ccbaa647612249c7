"""Configs: reading YAML, overriding it with flags, and one clear line for each mistake."""

import dataclasses
import re
from pathlib import Path

import pytest

from digits.cli import ArgumentParser, InputError
from digits.config import FIELDS, Config, add_flags, load_config
from digits.training.options import parse

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def config_file(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_each_shipped_config_loads_and_states_its_accuracy(path):
    load_config(path)
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert re.search(r"\d\d\.\d+%", " ".join(comment)), "the comment must state an accuracy"


def test_yaml_overrides_the_defaults_and_flags_override_yaml(tmp_path):
    path = config_file(tmp_path, "epochs: 7\nbatch_size: 32\n")
    config = load_config(path, {"epochs": "9"})
    assert (config.epochs, config.batch_size, config.seed) == (9, 32, Config().seed)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("2E+0", 2.0), ("1.5e-2", 0.015), ("1", 1.0), (".5", 0.5)]
)
def test_numbers_are_numbers_in_yaml_and_on_the_command_line(tmp_path, text, value):
    assert load_config(config_file(tmp_path, f"learning_rate: {text}")).learning_rate == value
    assert load_config(config_file(tmp_path, ""), {"learning_rate": text}).learning_rate == value


def test_booleans_are_true_or_false_in_any_case(tmp_path):
    for text, value in (("true", True), ("False", False)):
        assert load_config(config_file(tmp_path, f"dropout: {text}")).dropout is value
        assert load_config(config_file(tmp_path, ""), {"dropout": text}).dropout is value


def test_digits_stay_text_where_a_setting_is_text(tmp_path):
    assert load_config(config_file(tmp_path, ""), {"data_dir": "2024"}).data_dir == "2024"


def test_a_saved_config_is_read_back_equal(tmp_path):
    config = dataclasses.replace(Config(), learning_rate=1e-7, data_dir="x: y", epochs=3)
    assert load_config(config_file(tmp_path, config.to_yaml())) == config


@pytest.fixture
def parser():
    parser = ArgumentParser(prog="train.py")
    add_flags(parser)
    return parser


def test_every_field_is_a_flag_with_dashes(parser):
    for name in FIELDS:
        flag = "--" + name.replace("_", "-")
        assert vars(parser.parse_args([flag, "1"])) == {name: "1"}
        assert vars(parser.parse_args([f"{flag}=a_b"])) == {name: "a_b"}


@pytest.mark.parametrize("arguments", [["--batch_size", "1"], ["--batch_size=1"]])
def test_a_flag_with_underscores_is_refused_with_a_suggestion(parser, arguments):
    message = f"unknown argument '{arguments[0]}', did you mean '--batch-size'?"
    with pytest.raises(InputError, match=re.escape(message)):
        parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 0.1", "{path}: unknown key 'lerning_rate', did you mean 'learning_rate'?"),
        ("xyz: 1", "{path}: unknown key 'xyz'; expected one of model, "),
        ("epochs: ten", "{path}: epochs: 'ten' is not a whole number"),
        ("epochs: 2.5", "{path}: epochs: '2.5' is not a whole number"),
        ("epochs: true", "{path}: epochs: 'True' is not a whole number"),
        ("epochs: .inf", "{path}: epochs: 'inf' is not a whole number"),
        ("epochs: [1]", "{path}: epochs: '[1]' is not a whole number"),
        ("epochs: 0", "{path}: epochs: 0 is out of range; it must be between 1 and 100000"),
        ("learning_rate: fast", "{path}: learning_rate: 'fast' is not a number"),
        ("learning_rate: .nan", "{path}: learning_rate: 'nan' is not a number"),
        ("learning_rate: -1", "{path}: learning_rate: -1.0 is out of range; it must be between 1e-09 and 100.0"),
        ("val_fraction: 0.9", "{path}: val_fraction: 0.9 is out of range; it must be between 0.001 and 0.5"),
        ("optimizer: momentun", "{path}: optimizer: 'momentun' is not known, did you mean 'momentum'?"),
        ("schedule: zigzag", "{path}: schedule: 'zigzag' is not known; choose one of constant, cosine, one-cycle"),
        ("activation: no", "{path}: activation: 'False' is not text"),
        ("dropout: 0.5", "{path}: dropout: '0.5' must be true or false"),
        ("data: {folder: x}", "{path}: unknown key 'data', did you mean 'data_dir'?"),
        ("lab: x", "{path}: unknown key 'lab', did you mean 'label_smoothing'?"),
        ("unlabeled_share: 2", "{path}: unlabeled_share: 2.0 is out of range"),
        ("epochs: 1\nseed: 2\nepochs: 3", "{path} line 3: duplicate key 'epochs'"),
        ("epochs: 1\n  seed: 2", "{path} line 2: mapping values are not allowed here"),
        ("- epochs", "{path}: expected lines of 'key: value', not a list"),
        ("seed: 2024-13-45", "{path}: not YAML"),
        ("seed: 2024-01-02", "{path}: seed: '2024-01-02' is not a whole number"),
        ("seed: !!timestamp 2024-01-02", "{path}: seed: '2024-01-02' is not a whole number"),
        ("seed: !!timestamp soon", "{path}: not YAML"),
        ("data_dir: !!timestamp 2024-01-02", "{path}: data_dir: '2024-01-02' is not text"),
        ("data_dir: !!binary aGk=", "{path}: data_dir: 'b'hi'' is not text"),
        (r'data_dir: "a\0b"', r"{path}: data_dir: 'a\x00b' has a null character"),
        ("dropout: !!bool maybe", "{path}: not YAML"),
        ("seed: !!int ''", "{path}: not YAML"),
        ("seed: !!float x", "{path}: not YAML"),
        ("seed: !!set {a, b}", "{path}: seed: "),
        ("seed: !!omap [a: 1]", "{path}: seed: '"),
        ("seed: 1:" + "1:" * 400 + "1", "{path}: seed: '"),
        ("seed: " + "1" * 5000, "{path}: not YAML"),
        ("- [a, b]\n- 3", "{path}: expected lines of 'key: value', not a list"),
        ("? " + "[" * 300, "{path}"),
        ("x" * 5000 + ": 1", "{path}"),
        ("seed: " + "{a: " * 1000, "{path} line 1: it nests too deeply"),
        ("seed: " + "[" * 1000, "{path} line 1: it nests too deeply"),
        ("seed: 1" + "0" * 400, "{path}: seed: '1000"),
        ("? [a, b]\n: 1", "{path} line 1"),
        ("a: !!python/object/apply:os.getcwd []", "{path} line 1: could not determine a constructor"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(tmp_path, text, message):
    path = config_file(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_config(path)
    assert str(error.value).startswith(message.format(path=path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500  # the list of all settings


def test_a_mistake_in_a_flag_names_the_flag(tmp_path):
    path = config_file(tmp_path, "")
    for overrides, message in (
        ({"batch_size": "0"}, "--batch-size: 0 is out of range; it must be between 1 and 65536"),
        ({"epochs": "ten"}, "--epochs: 'ten' is not a whole number"),
        ({"epochs": "[1"}, "--epochs: '[1' is not a whole number"),
        ({"seed": "2024-13-45"}, "--seed: '2024-13-45' is not a whole number"),
        ({"seed": "1" + "0" * 5000}, "--seed: '1000"),
        ({"learning_rate": "1" + "0" * 400}, "--learning-rate: '1000"),
        ({"seed": "[" * 3000}, "--seed: '[[["),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            load_config(path, overrides)


def test_a_config_that_cannot_be_read_is_named(tmp_path):
    path = config_file(tmp_path, "")
    with pytest.raises(InputError, match=r"somme.yaml: no such file, did you mean '.*some.yaml'"):
        load_config(tmp_path / "somme.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read: not UTF-8"):
        load_config(path)


def test_a_tilde_is_the_home_folder_in_settings_and_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "home.yaml").write_text("data_dir: ~/data\n")
    args, overrides = parse("", ["~/home.yaml", "--extra", "~/mine", "--out", "~/run"])
    config = load_config(args.config, overrides)
    found = (args.config, config.data_dir, config.extra, str(args.out))
    assert found == tuple(str(tmp_path / name) for name in ("home.yaml", "data", "mine", "run"))
