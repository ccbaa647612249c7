"""Imports point one way, scripts -> classifier, run_folder -> data, checkpoint -> leaves; no script imports another."""

import ast
import os
import subprocess
import sys

from conftest import ROOT

SCRIPTS = {"train", "evaluate", "predict", "draw", "benchmark"}
MODULES = {path.stem for path in ROOT.glob("*.py")}
THIRD_PARTY = {
    # who may import what, beside the standard library and the project's own modules
    "image_header": set(),
    "pieces": {"numpy", "cv2"},
    "printed_lines": {"numpy", "cv2"},
    "ink": {"numpy", "cv2"},
    "canvas": {"numpy", "cv2"},
    "display": {"cv2"},
    "preprocess": {"numpy", "cv2"},
    "augment": {"numpy", "cv2"},
    "image_folder": {"numpy"},
    "metrics": {"numpy"},
    "calibration": {"numpy"},
    "figures": {"numpy"},
    "nondigits": {"numpy", "cv2"},
    "forms": {"numpy", "cv2"},
    "safe_pickle": {"numpy"},
    "plots": {"numpy", "matplotlib"},
    "panel": {"numpy", "cv2"},
    "config": {"yaml"},
    "errors": set(),
    "atomic": set(),
}
LEVELS = [
    {"errors", "metrics", "image_header", "pieces", "canvas", "progress"},
    {"atomic", "safe_pickle", "calibration", "printed_lines", "display", "image_folder"},
    {"ink", "config", "runtime", "augment", "plots", "panel", "model", "mnist_files"},
    {"preprocess"},
    {"data", "checkpoint", "optim", "nondigits", "forms", "figures"},
    {"pictures"},
    {"classifier", "training_data", "pseudo_labels", "transfer"},
    {"run_folder", "recogniser"},
    {"report", "fitting"},
    SCRIPTS,
]


def imported(module):
    """Names of the top-level modules a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return names


def test_every_module_has_its_level():
    assert set().union(*LEVELS) == MODULES


def test_imports_point_to_lower_levels_only():
    level = {module: number for number, modules in enumerate(LEVELS) for module in modules}
    for module in MODULES:
        for other in imported(module) & MODULES:
            assert level[other] < level[module], f"{module} imports {other}"


def test_leaves_import_only_what_they_are_made_of():
    standard = sys.stdlib_module_names
    for module, allowed in THIRD_PARTY.items():
        assert imported(module) - MODULES - standard <= allowed, module


def test_the_project_needs_its_five_requirements_and_no_more():
    standard = sys.stdlib_module_names
    names = {"paddlepaddle": "paddle", "opencv-python": "cv2", "pyyaml": "yaml"}
    lines = [line.split("#") for line in (ROOT / "requirements.txt").read_text().splitlines()]
    required = {names.get(package, package) for package in (line[0].strip().split(">=")[0] for line in lines)}
    assert all(len(line) == 2 and line[1].strip() for line in lines), "each requirement has its reason"
    found = set().union(*(imported(module) for module in MODULES))
    assert found - MODULES - standard - {"desktop"} == required  # tests/desktop.py is what benchmark.py's window needs


def test_importing_the_modules_does_nothing(tmp_path):
    modules = sorted(MODULES - SCRIPTS)
    check = "import os, paddle; before = dict(os.environ); import {}; assert dict(os.environ) == before"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", check.format(", ".join(modules))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_predict_evaluate_and_draw_check_their_arguments_before_they_import_paddle():
    for module in ("predict", "evaluate", "draw"):
        body = ast.parse((ROOT / f"{module}.py").read_text()).body
        top = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
        top |= {node.module for node in body if isinstance(node, ast.ImportFrom)}
        assert not top & {"paddle", "classifier", "checkpoint", "model", "run_folder", "optim", "train"}, module
