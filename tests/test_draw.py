"""draw.py without its window: the words it prints, the picture it shows, the files it saves, its errors."""

import sys

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, call, script

import draw
from digits.cli import InputError
from digits.evaluation.reading import LOW_CONFIDENCE, NOT_A_DIGIT, SEVERAL_DIGITS, Reading
from digits.window import display, drawings, panel
from digits.window.canvas import Canvas
from digits.window.panel import CANVAS, View

# Words and pictures


def digit(label, confidence=0.998, reason=None, line=0, calibrated=True):
    probs = np.full(10, (1 - confidence) / 9)
    probs[int(label)] = confidence
    trusted = reason is None if calibrated else None
    return Reading(
        label, confidence, probs, trusted, reason, np.zeros((28, 28), np.float32), None, (60, 60, 80, 200), line
    )


@pytest.mark.parametrize(
    "digits, words",
    [
        ([digit("7")], "'7' (99.8% sure)"),
        ([digit("7", 0.99949)], "'7' (99.9% sure)"),
        ([digit("7", 0.99951)], "'7' (>99.9% sure)"),
        ([digit("7", 0.612, LOW_CONFIDENCE)], "'7' (61.2% sure: low confidence)"),
        ([digit("7", 0.41, NOT_A_DIGIT)], "not a digit (the nearest is 7, 41.0%)"),
        ([digit("7", 0.41, SEVERAL_DIGITS)], "several digits (the nearest is 7, 41.0%)"),
        ([digit("4"), digit("2", 0.991)], "'42' (99.1% sure)"),
        ([digit("4", 0.5, LOW_CONFIDENCE), digit("2")], "'42' (50.0% sure: low confidence)"),
        (
            [digit("4", 0.5), digit("2", 0.9, NOT_A_DIGIT)],
            "not a number (figure 2 of 2 is not a digit; the nearest is 2, 90.0%)",
        ),
        ([digit("1"), digit("2"), digit("3", line=1)], "'12 3' (99.8% sure)"),
    ],
)
def test_a_drawing_is_described_with_the_confidence_of_its_least_certain_digit(digits, words):
    assert drawings.painted(digits) == words


def test_the_panel_differs_for_trusted_doubtful_uncalibrated_and_rejected_readings():
    image, classes = Canvas(CANVAS).image, list("0123456789")
    reasons = (None, LOW_CONFIDENCE, NOT_A_DIGIT)
    digits = [*(digit("7", reason=reason) for reason in reasons), digit("7", calibrated=False)]
    views = [View(image, 28, classes=classes, readings=[shown]) for shown in digits]
    frames = [panel.compose(view)[:, CANVAS:].tobytes() for view in (*views, View(image, 28))]
    assert len(set(frames)) == 5


def test_no_text_is_cut_off_at_the_edges(monkeypatch):
    """The widest texts stay within the window, and within the panel or the footer they belong to."""
    written, write = [], panel._text

    def text(frame, text, place, size, color, weight=400, align="left"):
        width = panel._text_width(text, size, weight)
        left = place[0] - {"left": 0, "center": 0.5, "right": 1}[align] * width
        written.append((text, left, left + width, place[1]))
        write(frame, text, place, size, color, weight, align)

    monkeypatch.setattr(panel, "_text", text)
    classes, image = list("0123456789"), Canvas(CANVAS).image
    for digits in ([digit("8", 0.5, LOW_CONFIDENCE)] * 12, [digit("8", 0.999, SEVERAL_DIGITS)], []):
        for status in ("", "not saved: /a/very/long/name/" + "x" * 200):
            panel.compose(View(image, 36, True, True, status, classes, digits))
    panel.compose(View(image, 36))
    assert len(written) > 100
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


# Errors


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is for Linux")
@pytest.mark.parametrize(
    "display, message", [("", "DISPLAY is not set"), (":87", "no X server answers at DISPLAY=:87")]
)
def test_a_missing_display_is_one_line(display, message):
    assert_one_line_error(script("draw.py", DISPLAY=display, WAYLAND_DISPLAY=""), "no display", message)


@pytest.mark.skipif(sys.platform != "linux", reason="Wayland is for Linux")
def test_wayland_without_xwayland_is_one_line():
    assert_one_line_error(script("draw.py", DISPLAY="", WAYLAND_DISPLAY="wayland-0"), "no display", "XWayland")


def test_an_opencv_without_windows_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           NONE\n")
    with pytest.raises(InputError, match="pip uninstall opencv-python-headless"):
        display.check_display()


def test_a_missing_checkpoint_and_a_wrong_flag_are_one_line(tmp_path):
    assert_one_line_error(call(draw.main, "--checkpoint", tmp_path / "gone"), "gone: no such file or folder")
    assert_one_line_error(call(draw.main, "--chekpoint", "x"), "did you mean '--checkpoint'?")
    assert "python draw.py" in call(draw.main, "--help").stdout
