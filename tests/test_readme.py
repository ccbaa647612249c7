"""The README, the pages in docs/ and the Makefile are true, and phrases that we removed do not come back."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections import Counter
from functools import cache

import numpy as np
import pytest
from conftest import ROOT, call

PAGES = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
TEXT = "\n".join(PAGES.values())
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def shell_lines():
    """Return the commands in code blocks and in backticks, without their comments."""
    blocks = re.findall(r"```(?:sh|text)\n(.*?)```", TEXT, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith(("python ", "make ", "$ "))] + re.findall(
        r"`(python [^`]+|make [^`]+)`", TEXT
    )


def run_script(name, *arguments):
    return call(importlib.import_module(name.removesuffix(".py")).main, *arguments).stdout


@cache
def help_of(name):
    return run_script(name, "--help")


def test_every_make_target_named_exists():
    for line in shell_lines():
        if line.startswith("make "):
            assert line.split()[1] in TARGETS, line


def test_every_command_named_parses():
    """Every script, path and flag in the commands exists."""
    for line in shell_lines():
        if not line.startswith("python ") or line.split()[1] in ("-m", "-c"):
            continue
        words = shlex.split(line)[1:]
        assert (ROOT / words[0]).is_file(), line
        for word in words[1:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in help_of(words[0]), line
            elif "/" in word and word.split("/")[0] in ("configs", "docs", "examples"):
                assert (ROOT / word).exists(), line


def test_every_linked_file_and_heading_exists():
    """Links are relative to the page that they are on."""
    for page, text in PAGES.items():
        targets = re.findall(r"\]\(([^)]+)\)", text)
        assert targets, page
        for target in targets:
            path, _, heading = target.partition("#")
            assert ":" not in target and not path.startswith("/"), f"{page}: {target} is not a relative link"
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), f"{page}: {target}"
            if heading:
                assert heading in headings(PAGES[linked]), f"{page}: {target}"


def headings(text):
    """Return the anchors that GitHub gives to the headings of a page."""
    lines = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in lines]


def test_the_readme_links_to_every_page():
    for page in PAGES:
        assert page.name == "README.md" or f"](docs/{page.name})" in PAGES[ROOT / "README.md"], page


def test_the_example_output_is_what_predict_prints():
    blocks = re.findall(r"```text\n\$ python (predict.py [^\n]+)\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2, "one digit, one page"
    for command, expected in blocks:
        printed = run_script(*shlex.split(command)).split()
        for actual, word in zip(printed, expected.split(), strict=True):
            if "%" in word:  # processors differ in the last digits
                assert float(actual.strip(">%")) == pytest.approx(float(word.strip(">%")), abs=0.01)
            else:
                assert actual == word


def test_the_diagram_of_lenet_gives_the_parameters_of_each_layer():
    from model import LeNet

    names, _, counts = re.search(r"```text\n( +conv1 .*)\n(.*)\n(.*)\n```", TEXT).groups()
    sizes = Counter()
    for name, parameter in LeNet().named_parameters():
        sizes[name.partition(".")[0]] += parameter.size
    assert re.findall(r"conv\d|fc\d", names) == list(sizes)
    drawn = [int(count.replace(",", "")) for count in re.findall(r"[\d,]+", counts)]
    assert drawn == [*sizes.values(), sum(sizes.values())]


SHIPPED = ("lenet", "extended", "tiny")


def shipped(name):
    return json.loads((ROOT / "checkpoints" / "shipped" / name / "best.json").read_text())


def test_the_results_are_those_of_the_runs():
    """In the results tables, mean and standard deviation follow from the accuracies listed next to them."""
    rows = re.findall(r"\| `configs/(\w+)\.yaml` \|.*?\| ([\d.]+)(?: ± ([\d.]+))? \| ([\d. ]+) \|", TEXT)
    seeds = {
        "tutorial": 5,
        "mlp": 5,
        "lenet_fast": 10,
        "lenet": 5,
        "extended": 1,
        "tiny": 4,
        "photo_cnn": 3,
        "few_labels": 3,
    }
    assert [row[0] for row in rows] == list(seeds)
    for name, mean, spread, values in rows:
        accuracies = np.array(values.split(), float)
        assert len(accuracies) == seeds[name], name
        assert f"{accuracies.mean():.2f}" == mean, name
        assert (f"{accuracies.std(ddof=1):.2f}" if len(accuracies) > 1 else "") == spread, name
        assert mean in (ROOT / "configs" / f"{name}.yaml").read_text(), name
        if name in SHIPPED:
            runs = [
                json.loads(path.read_text()) for path in sorted((ROOT / "docs" / "runs" / name).glob("*/best.json"))
            ]
            assert [run["seed"] for run in runs] == list(range(len(accuracies))), name
            assert [f"{100 * run['metrics']['test']['accuracy']:.2f}" for run in runs] == values.split()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_weights_are_those_of_seed_0(name):
    first, *others = sorted((ROOT / "docs" / "runs" / name).iterdir())
    assert shipped(name) == json.loads((first / "best.json").read_text())
    for run in (first, *others):
        best = json.loads((run / "best.json").read_text())
        assert best["config"] | {"seed": 0} == shipped(name)["config"]
        assert len((run / "log.csv").read_text().splitlines()) == 1 + best["config"]["epochs"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_trust_table_is_that_of_the_shipped_weights(name):
    row = re.search(rf"\| `shipped/{name}` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", TEXT).groups()
    test, found = shipped(name)["metrics"]["test"], shipped(name)["calibration"]
    values = (found["guaranteed_threshold"], test["coverage"], test["accepted_error"], test["ece"])
    assert [cell.strip() for cell in row] == [f"{100 * value:.2f}" for value in values]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_weights_come_from_the_committed_config(name):
    from dataclasses import asdict

    from digits.config import Config, load_config

    best = shipped(name)
    config = asdict(load_config(ROOT / "configs" / f"{name}.yaml", {"seed": str(best["seed"])}))
    assert asdict(Config()) | best["config"] == config  # settings added later have their default
    assert re.fullmatch(r"[0-9a-f]{40}", best["commit"]), "must be trained from a clean checkout"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_the_targets():
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True)
    assert [line.split()[1] for line in done.stdout.splitlines()] == TARGETS


def test_both_languages_have_the_same_commands_numbers_and_links():
    def parts(path):
        text = (ROOT / path).read_text()
        code = [line.partition("#")[0].rstrip() for line in re.findall(r"^(?:python|make|py|\$).*", text, re.MULTILINE)]
        return code, Counter(re.findall(r"\d[\d,.]*\d|\d", text)), re.findall(r"\]\((?!README)([^)]+)\)", text)

    english, chinese = parts("README.md"), parts("README.zh-CN.md")
    assert english[0] == chinese[0]
    assert english[1] == chinese[1]
    assert english[2] == chinese[2]


def test_removed_phrases_do_not_come_back():
    """tests/phrases.txt has one extended regular expression per line, for phrases that are vague or not English."""
    found = subprocess.run(
        ["git", "grep", "-nE", "-f", "tests/phrases.txt", "--", "*.py", "*.md", "*.yaml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.stdout.splitlines() == []
    assert found.returncode == 1, found.stderr  # git could search, and nothing matched


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_train_on_a_fresh_machine_and_again(tmp_path):
    """A bare checkout and an empty home: environment, download of MNIST, training, report, prediction."""
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
