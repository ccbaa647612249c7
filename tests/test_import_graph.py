"""Imports point one way, from the scripts down to `cli`; most modules start without Paddle; files stay short."""

import ast
import graphlib
import subprocess
import sys

import pytest
from conftest import ROOT

FLOORS = [  # a module may import from its own room and from lower floors
    {"signals", "text", "cli", "files", "runtime", "config", "safe_pickle", "safe_yaml"},
    {"imaging"},
    {"data", "networks"},
    {"evaluation"},
    {"training", "window", "export"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
USES_PADDLE = (
    "runtime",
    "networks",
    "training",
    "export",
    "data.image_files",
    "data.workers",
    "data.download",
)  # rooms and modules
SCRIPTS = sorted(path for path in ROOT.glob("*.py") if path.name != "model.py")
MODULES = {
    ".".join(path.relative_to(ROOT / "digits").with_suffix("").parts): path
    for path in sorted((ROOT / "digits").rglob("[a-z]*.py"))
}
STARTS_WITHOUT_PADDLE = (
    *("signals", "text", "cli", "files", "config", "runtime", "safe_pickle", "safe_yaml"),
    *(name for name in MODULES if name.startswith("imaging.")),
    *("evaluation.metrics", "evaluation.plots", "evaluation.reading", "window.panel", "window.canvas"),
)


def imported(path):
    """Return the full names of everything that a file imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_imported(path):
    """Return the modules of `digits` that a file imports, as keys of `MODULES`."""
    names = [name.removeprefix("digits.") for name in imported(path) if name.startswith("digits.")]
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_room_and_lower_floors_only(module):
    room = module.partition(".")[0]
    for name in modules_imported(MODULES[module]):
        other = name.partition(".")[0]
        assert other == room or FLOOR[other] < FLOOR[room] or FLOOR[other] == FLOOR[room] == 0, name


def test_no_two_modules_import_each_other():
    graphlib.TopologicalSorter({name: modules_imported(path) for name, path in MODULES.items()}).prepare()


def test_nothing_imports_a_script_or_the_plain_name_model():
    """`import model` could find a user's own file; `digits.networks.registry` loads ours by its path."""
    names = {path.stem for path in SCRIPTS} | {"model"}
    for path in [*SCRIPTS, *MODULES.values()]:
        assert not {name.partition(".")[0] for name in imported(path)} & names, path


def test_model_py_imports_paddle_alone():
    assert {name.partition(".")[0] for name in imported(ROOT / "model.py")} == {"paddle"}


def test_only_networks_training_and_their_inputs_use_paddle():
    for module, path in MODULES.items():
        if any(name.partition(".")[0] == "paddle" for name in imported(path)):
            assert module in USES_PADDLE or module.partition(".")[0] in USES_PADDLE, module


def test_pictures_plots_settings_and_the_canvas_start_without_paddle():
    modules = ", ".join(f"digits.{name}" for name in STARTS_WITHOUT_PADDLE)
    code = f"import sys, {modules}; sys.exit('paddle' in sys.modules)"
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
