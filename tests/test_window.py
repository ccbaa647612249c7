"""draw.py's real window on a virtual screen, driven by mouse and keyboard events: drawing, saving, announcing."""

import os
import re
import signal

import cv2
import numpy as np
import pytest
from window_driver import ASIDE, LEFT, RIGHT, WHOLE, Running

from benchmarks import desktop as desk
from digits.window.board import PEN
from digits.window.canvas import Canvas
from digits.window.panel import CANVAS
from digits.window.window import TITLE


def test_digits_are_announced_once_each_when_they_are_cleared_or_the_user_leaves(running):
    for label in "72305":
        running.draw(label)
        running.clear()
    running.draw("4")
    running.key("q")
    assert running.ended() == ""
    assert running.painted == list("723054")
    assert all(re.search(r"\(>?99\.\d% sure\)$", line) for line in running.lines)


def test_a_finished_drawing_is_announced_once_and_again_when_ink_is_added(loaded):
    loaded.draw("1", (60, 74, 200, 300))
    loaded.until(lambda: loaded.painted == ["1"])
    announced = loaded.canvas()
    loaded.dot(400, 420)
    loaded.until(lambda: loaded.ink() > announced.sum())
    loaded.key("u")  # back to the announced drawing
    loaded.until(lambda: np.array_equal(loaded.canvas(), announced))
    loaded.key_with_status("s")
    loaded.draw("7", RIGHT)
    loaded.until(lambda: len(loaded.painted) == 2)
    loaded.key_with_status("s")
    for _ in range(2):
        loaded.clear()
        loaded.key("u")
        loaded.until(loaded.ink)
    loaded.key("q")
    loaded.ended()
    assert loaded.painted == ["1", "17"], "each once"


def test_digits_side_by_side_are_a_number(running):
    running.draw("4", LEFT)
    running.draw("2", RIGHT)
    running.clear()
    running.key("q")
    running.ended()
    assert running.painted == ["42"]


def test_a_drawing_made_and_left_while_the_network_loads_is_announced(running, screen):
    screen.draw(desk.STROKES["7"], WHOLE)
    running.key("Escape")
    running.ended()
    assert running.painted == ["7"]


def test_a_stroke_drawn_while_the_network_loads_is_complete(started, screen):
    """No point of the stroke is missing or displaced by half the pen's width, although Paddle's import interferes."""
    angles, radii = np.linspace(0, 6 * np.pi, 500), np.linspace(60, 190, 500)
    points = (CANVAS / 2 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).round().astype(int).tolist()
    expected = Canvas(CANVAS)
    expected.begin(*points[0], PEN)
    for point in points[1:]:
        expected.extend(*point)
    expected.end()
    expected = expected.image > 155
    screen.draw([points], (0, 0, 1, 1))
    screen.do("mousemove", *ASIDE)
    if started.ink() == 0:  # the window had just opened, and lost the press of the button
        started.until_it_draws()
        screen.draw([points], (0, 0, 1, 1))
        screen.do("mousemove", *ASIDE)
    drawn = started.settled()
    for ink, other in ((drawn, expected), (expected, drawn)):
        distances = cv2.distanceTransform(np.uint8(~other), cv2.DIST_L2, 5)
        assert distances[ink].max() < PEN / 2


def test_leaving_a_blank_window_while_the_network_loads_prints_nothing(running):
    running.key("q")
    assert running.ended() == ""
    assert running.lines == []


def test_the_close_button_leaves_and_announces(loaded, screen):
    loaded.draw("3")
    screen.press_close_button(TITLE)
    assert loaded.ended() == ""
    assert loaded.painted == ["3"]


def test_a_blank_canvas_is_neither_announced_nor_saved(loaded):
    loaded.key("c")
    for key in ("u", "s"):
        loaded.key_with_status(key)
    loaded.key("7")  # the line below the canvas says the same as after s
    loaded.key("q")
    assert loaded.ended() == ""
    assert loaded.lines == []
    assert not (loaded.project / "inputs").exists()
    assert not (loaded.project / "outputs").exists()


def test_a_label_key_saves_under_that_label_and_clears_and_undo_brings_the_drawing_back(running):
    existing = running.project / "inputs" / "mine" / "7" / "0004.png"
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")
    for number in (5, 6):
        drawn = running.draw("7")
        running.key("7")
        running.until(lambda: running.ink() == 0)
        saved = cv2.imread(str(existing.with_name(f"000{number}.png")), cv2.IMREAD_UNCHANGED)
        assert saved.dtype == np.uint8
        assert np.mean((saved > 127) != drawn) < 0.005
    running.key("u")
    running.until(lambda: np.array_equal(running.canvas(), drawn))
    assert sorted(path.name for path in existing.parent.iterdir()) == ["0004.png", "0005.png"]
    for label in "012345689":
        running.dot()
        running.until(running.ink)
        running.key(label)
        running.until(lambda: running.ink() == 0)
    running.key("q")
    running.ended()
    assert existing.read_text() == "mine"
    saved = existing.parent.parent.glob("*/*.png")
    assert sorted(path.parent.name for path in saved) == sorted("0123456789" + "7")


def test_undo_after_saving_under_the_wrong_digit_deletes_that_file_and_no_other(running):
    folder = running.project / "inputs" / "mine"
    drawn = running.draw("1")
    running.key("7")
    running.until(lambda: running.ink() == 0)
    running.key("u")
    running.until(lambda: np.array_equal(running.canvas(), drawn))
    running.until(lambda: not list(folder.glob("*/*.png")))
    running.key("1")
    running.until(lambda: running.ink() == 0)
    running.dot()
    running.until(running.ink)
    running.key("u")  # the dot, and then the saving
    running.until(lambda: running.ink() == 0)
    running.key("u")
    running.until(lambda: np.array_equal(running.canvas(), drawn))
    running.until(lambda: not list(folder.glob("*/*.png")))
    running.key("1")
    running.until(lambda: running.ink() == 0)
    (folder / "1" / "0001.png").write_text("changed")
    running.key("u")
    running.until(lambda: np.array_equal(running.canvas(), drawn))
    assert (folder / "1" / "0001.png").read_text() == "changed"
    running.key("q")
    assert running.ended() == ""


def test_s_saves_without_a_label_and_the_drawing_stays(running):
    drawn = running.draw("2")
    folder = running.project / "outputs" / "drawings"
    for count in (1, 2):
        running.key("s")
        running.until(lambda count=count: len(list(folder.glob("[0-9]*.png"))) == count)
    assert np.array_equal(running.canvas(), drawn)
    running.key("q")
    running.ended()
    assert sorted(path.name for path in folder.iterdir()) == ["0001.png", "0002.png"]
    assert running.painted == ["2"]


def test_a_drawing_that_cannot_be_saved_is_a_warning_and_stays(running):
    (running.project / "inputs").write_text("a file, not a folder")
    running.draw("2")
    running.key("2")
    running.until(lambda: "not saved" in running.err.read_text())
    assert running.ink() > 1000
    running.key("q")
    (line,) = running.ended().splitlines()
    assert line.startswith("warning: not saved: ")
    assert running.painted == ["2"]


def test_the_wheel_and_plus_and_minus_change_the_pen(running, screen):
    sizes = []
    for change in ((), ("key", "plus"), ("click", 4), ("key", "minus"), ("click", 5), ("click", 5)):
        if change:
            pen = screen.picture()[CANVAS:, 700:].copy()
            screen.do("mousemove", *ASIDE, *change)
            running.until(lambda pen=pen: (screen.picture()[CANVAS:, 700:] != pen).any())
            running.until_it_draws()  # the wheel replaces the window, and a new window may lose events
        running.dot()
        running.until(lambda: running.ink() > 0)
        sizes.append(running.ink())
        running.clear()
    normal, larger, largest, larger_again, normal_again, smaller = sizes
    assert smaller < normal < larger < largest
    assert (normal_again, larger_again) == (normal, larger)


def test_the_right_button_and_e_erase(running):
    running.two_dots()
    both = running.ink()
    running.dot(100, 100, button=3)
    running.until(lambda: running.ink() == both // 2)
    running.key("e")
    running.dot(300, 100)
    running.until(lambda: running.ink() == 0)
    running.key("e")
    running.dot(300, 100)
    running.until(lambda: running.ink() == both // 2)


def test_arrows_and_similar_keys_do_nothing(loaded):
    """The low bytes of their codes equal those of q, s, u and c."""
    drawn = loaded.draw("2")
    for key in ("Left", "Right", "Up", "Down", "Prior", "Insert", "Home"):
        loaded.key(key)
    assert np.array_equal(loaded.settled(), drawn)
    assert not (loaded.project / "outputs").exists()
    loaded.key("q")
    loaded.ended()


def test_a_moving_pointer_does_not_keep_a_drawing_from_being_finished(loaded, screen):
    screen.draw(desk.STROKES["7"], WHOLE)
    for x in range(20, 400):
        screen.do("mousemove", x, 400, "sleep", 0.01)
        if loaded.lines:
            break
    assert loaded.painted == ["7"]


def test_undo_and_help(running):
    running.two_dots()
    both = running.ink()
    running.key("u")
    running.until(lambda: 0 < running.ink() < both)
    single = running.canvas()
    running.key("h")
    running.until(lambda: not np.array_equal(running.canvas(), single))
    running.key("h")
    running.until(lambda: np.array_equal(running.canvas(), single))
    running.key("h")
    running.until(lambda: not np.array_equal(running.canvas(), single))
    running.dot(200, 300)
    running.until(lambda: np.array_equal(running.canvas(), single))  # the click closes the help and draws nothing


def test_a_stroke_that_begins_as_a_double_click_is_drawn(running, screen):
    moves = [word for y in range(110, 210, 10) for word in ("mousemove", 100, y, "sleep", 0.01)]
    screen.do("mousemove", 100, 100, "click", 1, "mousedown", 1, *moves, "mouseup", 1, "mousemove", *ASIDE)
    running.until(lambda: running.canvas()[180, 100])


def test_a_stroke_may_leave_the_canvas_and_return_and_end_outside(running, screen):
    moves = [(200, 100), (500, 100), (900, 100), (900, 300), (500, 300), (300, 300)]
    words = [word for x, y in moves for word in ("mousemove", x, y, "sleep", 0.05)]
    screen.do(*words[:5], "mousedown", 1, *words[5:], "mouseup", 1, "mousemove", *ASIDE)
    running.until(lambda: running.pieces() == 2)
    assert not running.canvas()[150:250].any()
    screen.do("mousemove", 50, 420, "mousedown", 1, "mousemove", 50, 650, "sleep", 0.05, "mouseup", 1)
    screen.do("mousemove", *ASIDE)
    running.until(lambda: running.canvas()[CANVAS - 2, 50])
    before = running.ink()
    screen.do("mousemove", 100, 200, "sleep", 0.05, "mousemove", 300, 200, "sleep", 0.05)  # without a button
    from_the_panel = ("mousemove", 640, 300, "mousedown", 1, "mousemove", 200, 200, "sleep", 0.05, "mouseup", 1)
    screen.do(*from_the_panel)
    running.dot(60, 250)
    running.until(lambda: running.ink() > before)
    assert running.pieces() == 4


def test_the_window_survives_the_reader_of_its_output(screen, project):
    reading, writing = os.pipe()
    running = Running(screen, project, stdout=writing)
    os.close(writing)
    os.close(reading)
    running.until_it_draws()
    for _ in range(2):
        running.draw("7")
        running.key("7")
        running.until(lambda: running.ink() == 0)
    running.key("q")
    assert running.ended() == ""
    assert len(list((project / "inputs" / "mine" / "7").iterdir())) == 2


@pytest.mark.parametrize("state", ["running", "loaded"])
@pytest.mark.parametrize(
    ("number", "status", "text"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_ctrl_c_and_sigterm_end_the_window_quietly(state, number, status, text, request):
    window = request.getfixturevalue(state)
    window.process.send_signal(number)
    assert window.ended(status) == f"error: {text}\n"


def test_a_bad_checkpoint_closes_the_window_and_is_one_line(screen, project):
    bad = project / "bad.pdparams"
    bad.write_text("no weights")
    running = Running(screen, project, "--checkpoint", bad)
    lines = [line for line in running.ended(2).splitlines() if "read as the tutorial's" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: checkpoint {bad}: damaged")
