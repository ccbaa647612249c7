"""draw.py without its window: what it says, shows and saves, and why there may be no window."""

import sys

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, script

import draw
from digits.cli import InputError
from digits.evaluation.reading import LOW_CONFIDENCE, NOT_A_DIGIT, SEVERAL_DIGITS, Reading
from digits.window import display, panel
from digits.window.canvas import Canvas
from digits.window.panel import CANVAS, View

# What is said and shown


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
        ([digit("7", 0.41, NOT_A_DIGIT)], "no digit (the nearest is 7, 41.0%)"),
        ([digit("7", 0.41, SEVERAL_DIGITS)], "several digits (the nearest is 7, 41.0%)"),
        ([digit("4"), digit("2", 0.991)], "'42' (99.1% sure)"),
        ([digit("4", 0.5, LOW_CONFIDENCE), digit("2")], "'42' (50.0% sure: low confidence)"),
        (
            [digit("4", 0.5), digit("2", 0.9, NOT_A_DIGIT)],
            "no number (figure 2 of 2 is not a digit; the nearest is 2, 90.0%)",
        ),
        ([digit("1"), digit("2"), digit("3", line=1)], "'12 3' (99.8% sure)"),
    ],
)
def test_what_was_painted_is_said_with_the_least_confidence(digits, words):
    assert draw.painted(digits) == words


def test_the_panel_differs_for_what_is_trusted_doubtful_not_calibrated_and_no_digit():
    image, classes = Canvas(CANVAS).image, list("0123456789")
    reasons = (None, LOW_CONFIDENCE, NOT_A_DIGIT)
    digits = [*(digit("7", reason=reason) for reason in reasons), digit("7", calibrated=False)]
    views = [View(image, 28, classes=classes, digits=[shown]) for shown in digits]
    frames = [panel.compose(view)[:, CANVAS:].tobytes() for view in (*views, View(image, 28))]
    assert len(set(frames)) == 5


def test_no_text_is_cut_off_at_the_edges(monkeypatch):
    """The widest there is: whatever is written keeps within the window, and within the panel or the foot it is in."""
    written, write = [], panel._text

    def text(frame, text, place, size, color, weight=400, align="left"):
        width = panel._width(text, size, weight)
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


def test_numbers_go_on_after_the_last_and_nothing_is_overwritten(tmp_path):
    image = np.eye(30, dtype=np.uint8) * 255
    first = draw.save_numbered(tmp_path / "new" / "7", image)
    assert first == tmp_path / "new" / "7" / "0001.png"
    np.testing.assert_array_equal(cv2.imread(str(first), cv2.IMREAD_UNCHANGED), image)
    (first.parent / "0041.png").write_text("mine")
    (first.parent / "notes.png").touch()
    assert draw.save_numbered(first.parent, image).name == "0042.png"
    assert (first.parent / "0041.png").read_text() == "mine"
    assert len(list(first.parent.iterdir())) == 4


def test_a_drawing_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(draw.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        draw.save_numbered(tmp_path, np.zeros((9, 9), np.uint8))
    assert not list(tmp_path.iterdir())


# Where there is no window


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is for Linux")
@pytest.mark.parametrize("display, said", [("", "DISPLAY is not set"), (":87", "nothing answers at DISPLAY=:87")])
def test_without_a_display_one_line_says_so(display, said):
    assert_one_line_error(script("draw.py", DISPLAY=display, WAYLAND_DISPLAY=""), "no display", said)


@pytest.mark.skipif(sys.platform != "linux", reason="Wayland is for Linux")
def test_on_wayland_alone_one_line_says_what_is_missing():
    assert_one_line_error(script("draw.py", DISPLAY="", WAYLAND_DISPLAY="wayland-0"), "no display", "XWayland")


def test_opencv_without_windows_is_told_from_one_with(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           NONE\n")
    with pytest.raises(InputError, match="pip uninstall opencv-python-headless"):
        display.check_windows()


def test_a_missing_checkpoint_and_a_wrong_flag_are_one_line(tmp_path):
    assert_one_line_error(script("draw.py", "--checkpoint", tmp_path / "gone"), "gone: no such file or folder")
    assert_one_line_error(script("draw.py", "--chekpoint", "x"), "did you mean '--checkpoint'?")
    assert "python draw.py" in script("draw.py", "--help").stdout
