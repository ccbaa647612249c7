"""The lesson stands alone, learns, and its weights are read by predict.py."""

import ast
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, call

import predict

LESSON = ROOT / "docs" / "lesson.py"


def test_the_lesson_is_short_and_imports_paddle_and_numpy_alone():
    text = LESSON.read_text()
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} == {"numpy", "paddle"}
    assert len(text.splitlines()) <= 120


def test_the_lessons_loop_learns_a_few_images_and_predict_reads_its_weights(tmp_path, mnist_train):
    images, labels = (array[:512] for array in mnist_train)
    np.savez(tmp_path / "images.npz", images=images[:, None].astype(np.float32) / 255, labels=labels.astype(np.int64))
    code = f"""
import sys
sys.path.insert(0, {str(LESSON.parent)!r})
import numpy as np
import lesson
data = np.load("images.npz")
lesson.EPOCHS, lesson.BATCH_SIZE = 40, 32
lesson.load = lambda mode: (data["images"], data["labels"])
lesson.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1].rstrip("%")) > 90
    done = call(predict.main, ROOT / "examples" / "7_scan.png", "--checkpoint", tmp_path / "lesson.pdparams")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_lesson_reaches_its_accuracy(tmp_path):
    done = subprocess.run([sys.executable, LESSON], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1].rstrip("%")) >= 98.5
