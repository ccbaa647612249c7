"""`from digits import Classifier` works from any folder, from a checkout and once installed."""

import importlib.metadata
import os
import subprocess
import sys

import pytest
from conftest import ROOT

import digits

READ = """
import sys
import digits
from digits import Classifier

assert digits.__file__.startswith(sys.argv[1]), digits.__file__
reading = Classifier().read(sys.argv[2])
print(reading.label, reading.trusted)
"""


@pytest.fixture
def folder(tmp_path):
    """A user's folder, whose modules have the names of ours and must not be imported in their place."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("model.py", "data.py", "evaluation.py", "networks.py", "files.py"):
        (folder / name).write_text("raise RuntimeError('this is not the module you are looking for')\n")
    return folder


def run_python(code, *arguments, cwd=ROOT, path=ROOT):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_digits_imports_nothing_heavy_and_tunes_the_cpu_before_paddle():
    code = """
import sys
import digits
assert not {"numpy", "cv2", "paddle"} & sys.modules.keys()

from digits import runtime
tune_cpu, paddle_was_imported = runtime.tune_cpu, []
runtime.tune_cpu = lambda: (paddle_was_imported.append("paddle" in sys.modules), tune_cpu())
from digits import Classifier
assert paddle_was_imported == [False], paddle_was_imported
assert "paddle" in sys.modules
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_digits_has_no_other_attributes():
    with pytest.raises(AttributeError, match="'digits' has no attribute 'Clasifier'"):
        _ = digits.Clasifier


def test_the_classifier_reads_a_picture_from_a_folder_with_modules_of_the_same_names(folder):
    done = run_python(READ, ROOT, ROOT / "examples" / "7_scan.png", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 True\n", "")


@pytest.mark.slow
@pytest.mark.network
def test_the_installed_classifier_reads_a_picture_and_depends_on_the_requirements(folder, tmp_path):
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(ROOT)]
    built = subprocess.run(pip, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = run_python(READ, target, ROOT / "examples" / "7_scan.png", cwd=folder, path=target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 True\n", "")
    (distribution,) = importlib.metadata.distributions(path=[str(target)])
    required = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    names = [requirement.partition(">")[0] for requirement in required if requirement]
    assert sorted(requirement.partition("<")[0] for requirement in distribution.requires) == sorted(names)
