"""Imports point one way, from the scripts down to `cli`; no script imports another; files stay short."""

import ast
import subprocess
import sys

from conftest import ROOT

FLOORS = [  # a module may import from its own room and from lower floors
    {"cli", "files", "runtime", "config", "safe_pickle"},
    {"imaging"},
    {"data", "networks"},
    {"evaluation"},
    {"training", "window"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
SCRIPTS = {path.stem for path in ROOT.glob("*.py")} - {"model"}


def imported(path):
    """Full names of the modules a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_go_down():
    for path in sorted((ROOT / "digits").glob("*/*.py")) + sorted((ROOT / "digits").glob("[a-z]*.py")):
        parts = path.relative_to(ROOT / "digits").with_suffix("").parts
        for name in imported(path):
            top, *rest = name.split(".")
            assert top not in SCRIPTS, f"{path} imports the script {name}"
            if top == "digits":
                assert rest[0] == parts[0] or FLOOR[rest[0]] <= FLOOR[parts[0]], f"{path} imports {name}"
                assert not (FLOOR[rest[0]] == FLOOR[parts[0]] > 0 and rest[0] != parts[0]), f"{path} imports {name}"


def test_no_script_imports_another():
    for name in SCRIPTS:
        assert not {top.partition(".")[0] for top in imported(ROOT / f"{name}.py")} & SCRIPTS - {name}, name


def test_window_and_imaging_start_without_paddle():
    code = "import sys, digits.window.panel, digits.imaging.segmentation; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_six_short_scripts_at_the_top_and_short_files_below():
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().splitlines() for path in ROOT.glob("*.py")}
    assert len(lines) <= 6
    assert "            loss.backward()" in lines["train.py"], "the training loop stands in train.py"
    limits = dict.fromkeys(lines, 180) | {"train.py": 160}
    for path in (ROOT / "digits").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        lines[name], limits[name] = path.read_text().splitlines(), 280
    assert {name: len(lines[name]) for name in lines if len(lines[name]) > limits[name]} == {}
