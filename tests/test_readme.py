"""The README and the Makefile say what is true."""

import json
import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT, script

README = (ROOT / "README.md").read_text()
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def shell_lines():
    """Commands in the README's code blocks, without their comments."""
    blocks = re.findall(r"```(?:sh|text)\n(.*?)```", README, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith(("python ", "make ", "$ "))] + re.findall(
        r"`(python [^`]+|make [^`]+)`", README
    )


def test_every_make_target_named_exists():
    for line in shell_lines():
        if line.startswith("make "):
            assert line.split()[1] in TARGETS, line


def test_every_command_named_parses():
    """Each script, path and flag in the README's commands is there."""
    for line in shell_lines():
        if not line.startswith("python ") or line.split()[1] in ("-m", "-c"):
            continue
        words = shlex.split(line)[1:]
        assert (ROOT / words[0]).is_file(), line
        help_text = script(words[0], "--help").stdout
        for word in words[1:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in help_text, line
            elif "/" in word and word.split("/")[0] in ("configs", "examples"):
                assert (ROOT / word).exists(), line


def test_files_linked_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_example_output_is_what_predict_prints():
    blocks = re.findall(r"```text\n\$ python (predict.py [^\n]+)\n(.*?)```", README, re.DOTALL)
    assert blocks
    for command, expected in blocks:
        printed = script(*shlex.split(command)).stdout.split()
        for word, wanted in zip(printed, expected.split(), strict=True):
            if "%" in wanted:  # processors differ in the last digits
                assert float(word.rstrip("%")) == pytest.approx(float(wanted.rstrip("%")), abs=0.01)
            else:
                assert word == wanted


def shipped(name):
    return json.loads((ROOT / "checkpoints" / "shipped" / name / "best.json").read_text())


def test_the_results_are_those_of_the_runs():
    """Rows of the results table: mean and standard deviation follow from the accuracies listed beside them."""
    rows = re.findall(r"\| `configs/(\w+)\.yaml` \|.*?\| ([\d.]+) ± ([\d.]+) \| ([\d. ]+) \|", README)
    assert [row[0] for row in rows] == ["tutorial", "mlp", "lenet", "extended", "photo_cnn", "few_labels"]
    for name, mean, spread, values in rows:
        accuracies = np.array(values.split(), float)
        assert len(accuracies) == (5 if name in ("tutorial", "mlp", "lenet") else 3), name
        assert f"{accuracies.mean():.2f}" == mean, name
        assert f"{accuracies.std(ddof=1):.2f}" == spread, name
        assert mean in (ROOT / "configs" / f"{name}.yaml").read_text(), name
        if name in ("lenet", "extended"):
            best = shipped(name)
            assert f"{100 * best['metrics']['test']['accuracy']:.2f}" == values.split()[best["seed"]]


@pytest.mark.parametrize("name", ["lenet", "extended"])
def test_the_trust_table_is_that_of_the_shipped_weights(name):
    row = re.search(rf"\| `shipped/{name}` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", README).groups()
    test, found = shipped(name)["metrics"]["test"], shipped(name)["calibration"]
    values = (found["guaranteed_threshold"], test["coverage"], test["accepted_error"], test["ece"])
    assert [cell.strip() for cell in row] == [f"{100 * value:.2f}" for value in values]


@pytest.mark.parametrize("name", ["lenet", "extended"])
def test_the_shipped_weights_come_from_the_committed_config(name):
    from dataclasses import asdict

    from digits.config import Config, load_config

    best = shipped(name)
    config = asdict(load_config(ROOT / "configs" / f"{name}.yaml", {"seed": str(best["seed"])}))
    assert asdict(Config()) | best["config"] == config  # a setting that came later counts at its default
    assert re.fullmatch(r"[0-9a-f]{40}", best["commit"]), "trained from a clean checkout"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_the_targets():
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True)
    assert [line.split()[1] for line in done.stdout.splitlines()] == TARGETS


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_train_on_a_fresh_machine_and_again(tmp_path):
    """A bare checkout, an empty home: environment, MNIST from wherever it can be had, training, report, prediction."""
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.rstrip("\0").split("\0"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()

    first = subprocess.run(
        ["make", "train"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=2400
    )
    assert first.returncode == 0, first.stderr
    assert "SHA-256 verified" in first.stderr
    accuracy = float(re.search(r"^accuracy ([\d.]+)%", first.stdout, re.MULTILINE)[1])
    assert accuracy >= 99.2
    assert "examples/7_scan.png: 7, " in first.stdout

    again = subprocess.run(
        ["make", "train"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert f"accuracy {accuracy:.2f}%" in again.stdout
    assert [path.name for path in (checkout / "checkpoints").iterdir() if path.name != "shipped"] == ["lenet"]
