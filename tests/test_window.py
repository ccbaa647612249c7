"""The window of draw.py, as a hand at the mouse and the keyboard uses it."""

import os
import re
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, count_components

import draw
from benchmarks import desktop as desk
from digits.window.panel import CANVAS

WHOLE, LEFT, RIGHT = (74, 74, 300, 300), (20, 110, 190, 230), (235, 110, 190, 230)


@pytest.fixture(scope="module")
def screen():
    missing = [name for name, path in desk.PROGRAMS.items() if path is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {' '.join(missing)}")
    with desk.desktop() as screen:
        yield screen
        if screen.lost:
            warnings.warn(f"{screen.lost} windows were never painted and started anew", stacklevel=1)


@pytest.fixture
def project(tmp_path):
    """The program in a folder of its own, for it saves beside itself."""
    for name in ("draw.py", "model.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "digits").symlink_to(ROOT / "digits")
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    return tmp_path


class Running:
    """draw.py at work on a screen."""

    def __init__(self, screen, project, *arguments, stdout=None):
        self.screen, self.project = screen, project
        self.out, self.err = project / "stdout", project / "stderr"
        with self.out.open("w") as out, self.err.open("w") as err:
            command = [sys.executable, project / "draw.py", *map(str, arguments)]
            self.process, _ = screen.start(command, stdout=stdout or out, stderr=err, cwd=project.parent)

    def until(self, condition, seconds=90):
        """Wait for a condition; that it never comes is the failure."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain; stderr: {self.err.read_text()}, stdout: {self.lines}"
            time.sleep(0.02)

    @property
    def lines(self):
        return self.out.read_text().splitlines()

    @property
    def painted(self):
        """What has been announced: `["7"]`."""
        return [re.fullmatch(r"\[INFO\] User painted '([\d ]+)' \(>?\d+\.\d% sure.*\)", line)[1] for line in self.lines]

    def canvas(self):
        """bool [CANVAS, CANVAS], where there is ink on the screen."""
        return self.screen.picture()[:CANVAS, :CANVAS].max(2) < 100

    def ink(self):
        self.screen.do("mousemove", 640, 470)  # the pointer is in the picture too
        return int(self.canvas().sum())

    def draw(self, label):
        """Draw a digit over the whole canvas; once more, if a window that has just opened did not get it."""
        self.screen.draw(desk.STROKES[label], WHOLE)
        end = time.monotonic() + 5
        while self.ink() == 0 and time.monotonic() < end:
            time.sleep(0.1)
        if self.ink() == 0:
            self.screen.draw(desk.STROKES[label], WHOLE)
            self.until(lambda: self.ink() > 0)

    def settled(self):
        """The canvas, once what has been drawn is all on the screen."""
        before = None
        while not np.array_equal(before, now := self.canvas()):
            before = now
            time.sleep(0.5)
        return now

    def dot(self, x=100, y=100, button=1):
        self.screen.do("mousemove", x, y, "click", button, "mousemove", 640, 470)

    def key(self, *keys):
        for key in keys:
            self.screen.do("mousemove", 640, 470, "key", key, "sleep", 0.05)

    def ended(self, status=0):
        assert self.process.wait(90) == status, self.err.read_text()
        return self.err.read_text()


@pytest.fixture
def running(screen, project):
    running = Running(screen, project)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def loaded(running):
    """With its model: a dot has been answered."""
    empty = running.screen.picture()[:CANVAS, CANVAS:].copy()
    running.until(lambda: (running.screen.picture()[42:182, CANVAS + 190 :] != empty[42:182, 190:]).any())
    return running


def test_digits_are_announced_once_each_when_they_are_cleared_or_left(running, screen):
    for label in "72305":
        running.draw(label)
        running.key("c")
        running.until(lambda: running.ink() == 0)
    running.draw("4")
    running.key("q")
    assert running.ended() == ""
    assert running.painted == list("723054")
    assert all(re.search(r"\(>?99\.\d% sure\)$", line) for line in running.lines)


def test_a_finished_drawing_is_announced_once_and_again_when_ink_is_added(loaded, screen):
    screen.draw(desk.STROKES["1"], (60, 74, 200, 300))
    loaded.until(lambda: loaded.painted == ["1"])
    screen.do("mousemove", 400, 420, "click", 1, "sleep", 0.1, "key", "u")  # back to what has been announced
    loaded.key("s")
    screen.draw(desk.STROKES["7"], (230, 110, 190, 230))
    loaded.until(lambda: len(loaded.painted) == 2)
    loaded.key("s", "c", "u", "c", "u", "q")
    loaded.ended()
    assert loaded.painted == ["1", "17"], "each once"


def test_digits_side_by_side_are_a_number(running, screen):
    screen.draw(desk.STROKES["4"], LEFT)
    screen.draw(desk.STROKES["2"], RIGHT)
    running.key("c", "q")
    running.ended()
    assert running.painted == ["42"]


def test_what_is_drawn_and_left_while_the_model_loads_is_announced(running, screen):
    screen.draw(desk.STROKES["7"], WHOLE)
    running.key("Escape")
    running.ended()
    assert running.painted == ["7"]


def test_the_close_button_leaves_and_announces(loaded, screen):
    screen.draw(desk.STROKES["3"], WHOLE)
    loaded.until(lambda: loaded.ink() > 1000)
    screen.press_close_button(draw.TITLE)
    assert loaded.ended() == ""
    assert loaded.painted == ["3"]


def test_a_blank_canvas_says_nothing(loaded):
    loaded.key("c", "u", "s", "7", "q")
    assert loaded.ended() == ""
    assert loaded.lines == []
    assert not (loaded.project / "inputs").exists()
    assert not (loaded.project / "outputs").exists()


def test_a_label_key_saves_under_that_label_and_clears_and_undo_brings_it_back(running, screen):
    kept = running.project / "inputs" / "mine" / "7" / "0004.png"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    for number in (5, 6):
        screen.draw(desk.STROKES["7"], WHOLE)
        running.until(lambda: running.ink() > 1000)
        drawn = running.settled()
        running.key("7")
        running.until(lambda: running.ink() == 0)
        saved = cv2.imread(str(kept.with_name(f"000{number}.png")), cv2.IMREAD_UNCHANGED)
        assert saved.dtype == np.uint8
        assert np.mean((saved > 127) != drawn) < 0.005
    running.key("u")
    running.until(lambda: np.array_equal(running.canvas(), drawn))
    for label in "012345689":
        running.dot()
        running.key(label)
    running.key("q")
    running.ended()
    assert kept.read_text() == "mine"
    assert sorted(path.parent.name for path in kept.parent.parent.glob("*/*.png")) == sorted("0123456789" + "77")


def test_s_saves_without_a_label_and_the_drawing_stays(running, screen):
    screen.draw(desk.STROKES["2"], WHOLE)
    running.until(lambda: running.ink() > 1000)
    before = running.ink()
    running.key("s", "s")
    folder = running.project / "outputs" / "drawings"
    running.until(lambda: folder.exists() and len(list(folder.glob("[0-9]*.png"))) == 2)
    assert running.ink() == before
    running.key("q")
    running.ended()
    assert sorted(path.name for path in folder.iterdir()) == ["0001.png", "0002.png"]
    assert running.painted == ["2"]


def test_what_cannot_be_saved_is_said_and_stays(running, screen):
    (running.project / "inputs").write_text("a file, not a folder")
    screen.draw(desk.STROKES["2"], WHOLE)
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
            screen.do("mousemove", 640, 470, *change)
            running.until(lambda pen=pen: (screen.picture()[CANVAS:, 700:] != pen).any())
        running.dot()
        running.until(lambda: running.ink() > 0)
        sizes.append(running.ink())
        running.key("c")
        running.until(lambda: running.ink() == 0)
    normal, larger, largest, larger_again, normal_again, smaller = sizes
    assert smaller < normal < larger < largest
    assert (normal_again, larger_again) == (normal, larger)


def test_the_right_button_and_e_erase(running, screen):
    running.dot(100, 100)
    running.dot(300, 100)
    running.until(lambda: count_components(running.canvas() * np.uint8(255)) == 2)
    whole = running.ink()
    running.dot(100, 100, button=3)
    running.until(lambda: running.ink() == whole // 2)
    running.key("e")
    running.dot(300, 100)
    running.until(lambda: running.ink() == 0)
    running.key("e")
    running.dot(300, 100)
    running.until(lambda: running.ink() == whole // 2)


def test_arrows_and_their_like_do_nothing(running, screen):
    """Their codes end like those of q, s, u and c."""
    screen.draw(desk.STROKES["2"], WHOLE)
    running.until(lambda: running.ink() > 1000)
    drawn = running.settled()
    running.key("Left", "Right", "Up", "Down", "Prior", "Insert", "Home")
    assert np.array_equal(running.settled(), drawn)
    assert not (running.project / "outputs").exists()
    running.key("q")
    running.ended()


def test_moving_about_does_not_keep_a_drawing_from_being_finished(loaded, screen):
    screen.draw(desk.STROKES["7"], WHOLE)
    for x in range(20, 400):
        screen.do("mousemove", x, 400, "sleep", 0.01)
        if loaded.lines:
            break
    assert loaded.painted == ["7"]


def test_undo_and_help(running, screen):
    running.dot(100, 100)
    running.dot(300, 100)
    running.until(lambda: running.ink() > 0)
    both = running.ink()
    running.key("u")
    running.until(lambda: 0 < running.ink() < both)
    one = running.canvas()
    running.key("h")
    running.until(lambda: not np.array_equal(running.canvas(), one))
    running.key("h")
    running.until(lambda: np.array_equal(running.canvas(), one))
    running.key("h")
    running.until(lambda: not np.array_equal(running.canvas(), one))
    running.dot(200, 300)
    running.until(lambda: np.array_equal(running.canvas(), one))  # the click closes it, and draws nothing


def test_a_stroke_that_begins_as_a_double_click_is_drawn(running, screen):
    moves = [word for y in range(110, 210, 10) for word in ("mousemove", 100, y, "sleep", 0.01)]
    screen.do("mousemove", 100, 100, "click", 1, "mousedown", 1, *moves, "mouseup", 1, "mousemove", 640, 470)
    running.until(lambda: running.canvas()[180, 100])


def test_a_stroke_leaves_the_canvas_and_comes_back_and_may_end_outside(running, screen):
    moves = [(200, 100), (500, 100), (900, 100), (900, 300), (500, 300), (300, 300)]
    words = [word for x, y in moves for word in ("mousemove", x, y, "sleep", 0.05)]
    screen.do(*words[:5], "mousedown", 1, *words[5:], "mouseup", 1, "mousemove", 640, 470)
    running.until(lambda: count_components(running.canvas() * np.uint8(255)) == 2)
    assert not running.canvas()[150:250].any()
    screen.do("mousemove", 50, 420, "mousedown", 1, "mousemove", 50, 650, "sleep", 0.05, "mouseup", 1)
    running.until(lambda: running.canvas()[CANVAS - 2, 50])
    before = running.ink()
    screen.do("mousemove", 100, 200, "sleep", 0.05, "mousemove", 300, 200, "sleep", 0.05)  # no button is held
    screen.do(
        "mousemove", 640, 300, "mousedown", 1, "mousemove", 200, 200, "sleep", 0.05, "mouseup", 1
    )  # from the panel
    running.dot(60, 250)
    running.until(lambda: running.ink() > before)
    assert count_components(running.canvas() * np.uint8(255)) == 4


def test_whoever_reads_the_output_may_leave(screen, project):
    reading, writing = os.pipe()
    running = Running(screen, project, stdout=writing)
    os.close(writing)
    os.close(reading)
    for _ in range(2):
        screen.draw(desk.STROKES["7"], WHOLE)
        running.until(lambda: running.ink() > 1000)
        running.key("7")
        running.until(lambda: running.ink() == 0)
    running.key("q")
    assert running.ended() == ""
    assert len(list((project / "inputs" / "mine" / "7").iterdir())) == 2


def test_ctrl_c_ends_it_quietly(loaded):
    loaded.process.send_signal(signal.SIGINT)
    assert loaded.ended(130) == "error: interrupted\n"


def test_a_bad_checkpoint_closes_the_window_and_is_one_line(screen, project):
    bad = project / "bad.pdparams"
    bad.write_text("no weights")
    running = Running(screen, project, "--checkpoint", bad)
    lines = [line for line in running.ended(2).splitlines() if "read as the tutorial's" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: checkpoint {bad}: damaged")


def test_the_end_of_the_recognizers_process_is_one_line(loaded):
    pid = loaded.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (worker,) = (child for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text())
    os.kill(int(worker), signal.SIGKILL)
    loaded.dot()
    assert loaded.ended(1) == "error: the process that reads the digits has ended; start again\n"
