"""draw.py without its window: the words it prints, the picture it shows, the files it saves, its errors."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, call, script

import draw
from digits.cli import InputError
from digits.evaluation.reading import LOW_CONFIDENCE, NOT_A_DIGIT, SEVERAL_DIGITS, Reading
from digits.networks.layers import Activation
from digits.window import display, drawings, panel, surface, window
from digits.window.canvas import Canvas
from digits.window.panel import CANVAS, View
from digits.window.teaching import Lesson

# Words and pictures


def digit(label, confidence=0.998, reason=None, line=0, calibrated=True):
    probs = np.full(10, (1 - confidence) / 9)
    probs[int(label)] = confidence
    trusted = reason is None if calibrated else None
    return Reading(
        label, confidence, probs, trusted, reason, np.zeros((28, 28), np.float32), None, (60, 60, 80, 200), line
    )


@pytest.mark.parametrize(
    "readings, words",
    [
        ([digit("7")], "'7' (99.8% sure)"),
        ([digit("7", 0.99949)], "'7' (99.9% sure)"),
        ([digit("7", 0.99951)], "'7' (>99.9% sure)"),
        ([digit("7", 0.612, LOW_CONFIDENCE)], "'7' (61.2% sure: low confidence)"),
        ([digit("7", 0.41, NOT_A_DIGIT)], "not a digit (the nearest is 7, 41.0%)"),
        ([digit("7", 0.41, SEVERAL_DIGITS)], "several digits (the nearest is 7, 41.0%)"),
        ([digit("4"), digit("2", 0.991)], "'42' (99.1% sure)"),
        ([replace(digit("4", 0.5, LOW_CONFIDENCE), candidates=("4", "9"))], "'4' (50.0% sure: 4 or 9)"),
        (
            [digit("2"), replace(digit("4", 0.5, LOW_CONFIDENCE), candidates=("4", "9", "7"))],
            "'24' (50.0% sure: digit 2 is 4, 9 or 7)",
        ),
        ([digit("4", 0.5, LOW_CONFIDENCE), digit("2")], "'42' (50.0% sure: low confidence)"),
        (
            [digit("4", 0.5), digit("2", 0.9, NOT_A_DIGIT)],
            "not a number (figure 2 of 2 is not a digit; the nearest is 2, 90.0%)",
        ),
        ([digit("1"), digit("2"), digit("3", line=1)], "'12 3' (99.8% sure)"),
    ],
)
def test_a_drawing_is_described_with_the_confidence_of_its_least_certain_digit(readings, words):
    assert drawings.painted(readings) == words


def test_the_panel_differs_for_trusted_doubtful_uncalibrated_and_rejected_readings():
    image, classes = Canvas(CANVAS).image, list("0123456789")
    reasons = (None, LOW_CONFIDENCE, NOT_A_DIGIT)
    readings = [*(digit("7", reason=reason) for reason in reasons), digit("7", calibrated=False)]
    views = [View(image, 28, classes=classes, readings=[reading]) for reading in readings]
    frames = [panel.compose(view)[:, CANVAS:].tobytes() for view in (*views, View(image, 28))]
    assert len(set(frames)) == 5


def test_no_text_is_cut_off_at_the_edges(monkeypatch):
    """The widest texts stay within the window, and within the panel or the footer they belong to."""
    written, write = [], surface.Surface.text

    def text(self, text, point, size, color, weight=400, align="left"):
        width = self.text_width(text, size, weight)
        left = point[0] - {"left": 0, "center": 0.5, "right": 1}[align] * width
        written.append((text, left, left + width, point[1]))
        write(self, text, point, size, color, weight, align)

    monkeypatch.setattr(surface.Surface, "text", text)
    classes, image = list("0123456789"), Canvas(CANVAS).image
    for readings in ([digit("8", 0.5, LOW_CONFIDENCE)] * 12, [digit("8", 0.999, SEVERAL_DIGITS)], []):
        for status in ("", "not saved: /a/very/long/name/" + "x" * 200):
            panel.compose(View(image, 36, True, True, status, classes, readings))
    panel.compose(View(image, 36))
    lesson = Lesson(None, Path("checkpoints", "x" * 200), [100] * 10, [99] * 10, [98] * 10)
    maps = [Activation("conv1", np.ones((112, 26, 26), np.float32)), Activation("fc1", np.ones(448, np.float32))]
    for scale in (0.7, 1, 2.3):
        size = round(panel.WIDTH * scale), round(panel.HEIGHT * scale)
        panel.compose(View(image, 36, lesson=lesson, choosing=True, counts=[1234] * 10), size)
        panel.compose(View(image, 36, help=True, layers=True, activations=[*maps, maps[-1]]), size)
    assert len(written) > 300
    for text, left, right, y in written:
        limit = panel.WIDTH if y > CANVAS or left >= CANVAS else CANVAS
        assert 0 < left < right < limit - 8, text
        assert not (y > CANVAS and left < CANVAS and right > panel.WIDTH - 130), text


def test_a_drawing_gets_the_number_after_the_last_and_overwrites_nothing(tmp_path):
    image = np.eye(30, dtype=np.uint8) * 255
    first = drawings.save_numbered(tmp_path / "new" / "7", image)
    assert first == tmp_path / "new" / "7" / "0001.png"
    np.testing.assert_array_equal(cv2.imread(str(first), cv2.IMREAD_UNCHANGED), image)
    (first.parent / "0041.png").write_text("mine")
    (first.parent / "notes.png").touch()
    assert drawings.save_numbered(first.parent, image).name == "0042.png"
    assert (first.parent / "0041.png").read_text() == "mine"
    assert len(list(first.parent.iterdir())) == 4


def test_a_drawing_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawings.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        drawings.save_numbered(tmp_path, np.zeros((9, 9), np.uint8))
    assert not list(tmp_path.iterdir())


# The mouse


def test_a_moving_pen_is_read_at_intervals_and_a_lifted_pen_at_once(tmp_path, monkeypatch):
    seconds, read = 0.0, []
    monkeypatch.setattr(window, "time", SimpleNamespace(monotonic=lambda: seconds))
    network = SimpleNamespace(classes=list("0123456789"), read_figures=lambda image: read.append(image.copy()) or [])
    drawing = window.Window(tmp_path)
    button = cv2.EVENT_FLAG_LBUTTON
    moves = [(cv2.EVENT_MOUSEMOVE, x, 100, button) for x in range(100, 200)]
    for event in [(cv2.EVENT_LBUTTONDOWN, 99, 100, button), *moves]:
        seconds += 0.011
        drawing._mouse_events.append(event)
        drawing.handle_mouse_events()
        drawing.read_drawing(network)
    assert len(read) == 5, "in 1.1 s"
    drawing._mouse_events.append((cv2.EVENT_LBUTTONUP, 200, 100, 0))
    drawing.handle_mouse_events()
    drawing.read_drawing(network)
    np.testing.assert_array_equal(read[-1], drawing.canvas.image)
    drawing.read_drawing(network)
    assert len(read) == 6, "an unchanged drawing is not read again"


# Errors


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is for Linux")
def test_a_missing_display_is_one_line():
    done = script("draw.py", DISPLAY="", WAYLAND_DISPLAY="")
    assert_one_line_error(done, "no display", "DISPLAY is not set")


@pytest.mark.skipif(sys.platform != "linux", reason="X11 and Wayland are for Linux")
@pytest.mark.parametrize(
    "display, wayland, message",
    [(":87", "", "no X server answers at DISPLAY=:87"), ("", "wayland-0", "on Wayland, OpenCV needs XWayland")],
)
def test_a_display_that_cannot_be_used_is_named(display, wayland, message, monkeypatch):
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("WAYLAND_DISPLAY", wayland)
    monkeypatch.setenv("QT_QPA_PLATFORM", "")  # restored after the test
    assert_one_line_error(call(draw.main), "no display", message)


def test_an_opencv_without_windows_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           NONE\n")
    with pytest.raises(InputError, match="pip uninstall opencv-python-headless"):
        display.check_display()


def test_a_missing_checkpoint_and_a_wrong_flag_are_one_line(tmp_path):
    assert_one_line_error(call(draw.main, "--checkpoint", tmp_path / "gone"), "gone: no such file or folder")
    assert_one_line_error(call(draw.main, "--chekpoint", "x"), "did you mean '--checkpoint'?")
    assert "python draw.py" in call(draw.main, "--help").stdout


def test_a_saved_drawing_is_deleted_again_unless_the_file_has_changed(tmp_path):
    image = np.full((9, 9), 200, np.uint8)
    path = drawings.save_numbered(tmp_path / "inputs" / "mine" / "7", image)
    assert drawings.remove_saved(path, image, tmp_path) == "not saved any more: inputs/mine/7/0001.png"
    assert not path.exists()
    assert drawings.remove_saved(path, image, tmp_path).startswith("inputs/mine/7/0001.png cannot be deleted: No such")
    path = drawings.save_numbered(path.parent, image)
    assert drawings.remove_saved(path, image + 1, tmp_path) == "inputs/mine/7/0001.png has changed since, and stays"
    assert path.exists()
