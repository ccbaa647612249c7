"""draw.py's real window on a virtual screen: its buttons, size, layers, and teaching it the user's handwriting."""

import re
import shutil
import signal

import cv2
import numpy as np
import pytest
from window_driver import ASIDE, LEFT, STATUS, WHOLE, Running

from benchmarks import desktop as desk
from digits.data.synthetic_digits import draw_forms
from digits.window.panel import CANVAS, HEIGHT, WIDTH, View, compose, row_of_buttons

PANEL = CANVAS + 1, 205, WIDTH - CANVAS - 1, CANVAS - 205  # below the answer
TOOLBAR = 0, CANVAS + 49, WIDTH, HEIGHT - CANVAS - 49
CHOOSING = View(None, 0, choosing=True)


def test_every_button_is_large_enough_for_a_finger_and_the_canvas_for_a_digit():
    for view in (View(None, 0), CHOOSING):
        row = row_of_buttons(view)
        assert all(button.height >= 40 and button.width >= 40 for button in row)
        assert all(button.y > CANVAS and button.x + button.width < WIDTH for button in row)
        edges = [edge for button in row for edge in (button.x, button.x + button.width)]
        assert edges == sorted(edges), "they do not overlap"
    assert CANVAS >= 400


def test_undo_clear_and_eraser_do_what_their_keys_do(running):
    running.two_dots()
    both = running.canvas()
    running.click("u")
    running.until(lambda: running.pieces() == 1)
    single = running.ink()
    running.click("c")
    running.until(lambda: running.ink() == 0)
    running.click("u")
    running.until(lambda: running.ink() == single)
    running.dot(300, 100)
    running.until(lambda: np.array_equal(running.canvas(), both))
    running.click("e")
    running.dot(300, 100)
    running.until(lambda: running.ink() == single)
    running.click("e")
    running.dot(300, 100)
    running.until(lambda: np.array_equal(running.canvas(), both))


def test_save_as_opens_ten_digits_that_save_and_count(running):
    folder = running.project / "inputs" / "mine" / "7"
    for number in (1, 2):
        running.draw("7")
        toolbar = running.part(*TOOLBAR)
        running.click("a")
        running.until_changed(TOOLBAR, toolbar)
        running.click("7", CHOOSING)
        running.until(lambda: running.ink() == 0)
        assert len(list(folder.iterdir())) == number
        running.until(lambda toolbar=toolbar: np.array_equal(running.part(*TOOLBAR), toolbar))
    toolbar = running.part(*TOOLBAR)
    running.click("a")
    running.until_changed(TOOLBAR, toolbar)
    choosing = running.settled(lambda: running.part(*TOOLBAR))
    expected = compose(View(np.zeros((CANVAS, CANVAS), np.uint8), 28, choosing=True, counts=[0] * 7 + [2, 0, 0]))
    assert np.array_equal(choosing, expected[CANVAS + 49 :]), "7: 2 of 5"
    running.click("a", CHOOSING)  # back
    running.until(lambda: np.array_equal(running.part(*TOOLBAR), toolbar))
    running.key("q")
    assert running.ended() == ""
    assert running.painted == ["7", "7"]


def test_help_opens_and_closes_over_the_canvas(running):
    running.dot()
    running.until(running.ink)
    before = running.canvas()
    running.click("h")
    running.until(lambda: not np.array_equal(running.canvas(), before))
    running.click("h")
    running.until(lambda: np.array_equal(running.canvas(), before))


def test_a_button_shows_the_pointer_and_the_press_and_acts_when_it_is_released_on_it(running, screen):
    running.dot()
    running.until(running.ink)
    before = running.ink()
    x, y = running.place("c")
    box = x - 30, y - 22, 10, 44  # a part of the button beside its label and the pointer
    looks = [running.part(*box)]
    for words in (("mousemove", x, y), ("mousedown", 1)):
        screen.do(*words)
        running.until_changed(box, looks[-1])
        looks.append(running.part(*box))
    assert not np.array_equal(looks[0], looks[2])
    screen.do("mousemove", *ASIDE, "sleep", 0.1, "mouseup", 1)
    running.until(lambda: np.array_equal(running.part(*box), looks[0]))
    assert running.ink() == before, "released elsewhere"
    screen.do("mousedown", 1, "mousemove", x, y, "sleep", 0.1, "mouseup", 1, "sleep", 0.1, "mousemove", *ASIDE)
    running.dot(300, 300)
    running.until(lambda: running.ink() > before)
    assert running.pieces() == 2, "pressed elsewhere"


def test_ctrl_z_undoes(running):
    running.two_dots()
    running.key("ctrl+z")
    running.until(lambda: running.pieces() == 1)
    running.key("ctrl+z")
    running.until(lambda: running.ink() == 0)


@pytest.mark.parametrize(
    "size, scale", [((1000, 700), 1000 / WIDTH), ((900, 400), 400 / HEIGHT), ((600, 640), 600 / WIDTH)]
)
def test_a_resized_window_draws_where_the_pen_is(size, scale, loaded, screen):
    loaded.resize(*size)
    loaded.until(lambda: loaded.size() == size)
    edge = round(CANVAS * scale)
    loaded.until(lambda: screen.picture()[5, edge - 3].min() == 255 and screen.picture()[5, edge + 4].max() < 255)
    points = np.array([(60, 80), (380, 90), (200, 400)])
    at = (points * scale).round().astype(int)
    screen.draw([at], (0, 0, 1, 1))
    aside = round(640 * scale), round(470 * scale)
    screen.do("mousemove", *aside)
    loaded.until(lambda: all(screen.picture()[y, x].max() < 100 for x, y in (at[0], at[-1])))
    loaded.until(lambda: loaded.painted == ["7"])
    screen.do("mousemove", *aside, "key", "s")
    path = loaded.project / "outputs" / "drawings" / "0001.png"
    loaded.until(path.exists)
    saved = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert saved.shape == (CANVAS, CANVAS)
    assert all(saved[y, x] == 255 for x, y in (points[0], points[-1]))
    x, y = loaded.place("c")
    screen.do("mousemove", x, y, "sleep", 0.05, "mousedown", 1, "sleep", 0.05, "mouseup", 1, "mousemove", *aside)
    loaded.until(lambda: screen.picture()[:edge, :edge].max(2).min() > 100)


def test_f_and_its_button_fill_the_screen_and_return(running):
    for press in (running.key, running.click):
        press("f")
        running.until(lambda: running.size() == desk.SIZE)
        running.until(lambda: (running.part(desk.SIZE[0] - 20, desk.SIZE[1] - 20, 20, 20) > 240).all())
        press("f")
        running.until(lambda: running.size() == (WIDTH, HEIGHT))


def test_the_layers_follow_the_pen(loaded, screen):
    panel = loaded.part(*PANEL)
    loaded.key("v")
    loaded.until_changed(PANEL, panel)
    screen.do("mousemove", 150, 100, "mousedown", 1)
    for y in (180, 260, 340):
        panel = loaded.part(*PANEL)
        screen.do("mousemove", 150, y)
        loaded.until_changed(PANEL, panel)  # the button is still down
    panel = loaded.part(*PANEL)
    screen.do("mouseup", 1, "mousemove", *ASIDE)
    maps = loaded.settled(lambda: loaded.part(*PANEL))
    loaded.click("v")
    loaded.until_changed(PANEL, maps)
    bars = loaded.part(*PANEL)
    loaded.click("v")
    loaded.until(lambda: np.array_equal(loaded.part(*PANEL), maps))
    assert not np.array_equal(bars, maps)


def test_a_ring_shows_the_size_of_pen_and_eraser(running, screen):
    """Where the ring is there is no paper; it is as far from the pointer as the edge of a stroke would be."""

    def radius():
        screen.do("mousemove", 299, 300, "sleep", 0.05, "mousemove", 300, 300, "sleep", 0.3)
        line = screen.picture()[300, 240:290].max(1)  # left of the pointer
        dark = np.flatnonzero(line < 200)
        return 60 - dark.mean() if len(dark) else 0

    assert radius() == pytest.approx(14 + 1.5, abs=1)
    running.key("plus")
    running.until(lambda: abs(radius() - 17.5) < 1)
    running.key("e")
    running.until(lambda: abs(radius() - 33.5) < 1)


# Teaching


@pytest.fixture
def drawings(project):
    """Saved drawings: four of each digit from 0 to 4."""
    rng = np.random.default_rng(0)
    for label in range(5):
        folder = project / "inputs" / "mine" / str(label)
        folder.mkdir(parents=True)
        for number, image in enumerate(draw_forms(np.full(4, label), rng), 1):
            cv2.imwrite(str(folder / f"{number:04d}.png"), image)


@pytest.fixture
def pupil(screen, project, drawings, small_run):
    """draw.py with a network that was trained briefly, on few images, and drawings to learn from."""
    with Running(screen, project, "--checkpoint", small_run) as running:
        yield running.until_it_draws()


def test_teaching_shows_what_it_changed_and_uses_the_new_network(pupil):
    status = pupil.part(*STATUS)
    pupil.click("t")
    pupil.until_changed(STATUS, status)
    drawn = pupil.draw("7", LEFT)  # during the lesson
    pupil.until(lambda: pupil.taught, seconds=300)
    (line,) = pupil.taught
    before, total, after = map(int, re.search(r"(\d+) of (\d+) drawings wrong before, (\d+) after", line).groups())
    assert total == 20
    assert after < before
    assert line.endswith("in use now: checkpoints/small-fine-tuned")
    assert (pupil.project / "checkpoints" / "small-fine-tuned" / "best.pdparams").exists()
    pupil.until(lambda: not np.array_equal(pupil.canvas(), drawn))  # the card with what it has learned
    pupil.dot(200, 300)  # closes it and draws nothing
    pupil.until(lambda: np.array_equal(pupil.canvas(), drawn))
    pupil.key("q")
    assert "error" not in pupil.ended()


def test_a_lesson_can_be_stopped_and_leaves_nothing(pupil):
    status = pupil.part(*STATUS)
    pupil.key("t")
    pupil.until_changed(STATUS, status)
    pupil.until((pupil.project / "checkpoints" / "small-fine-tuned").exists)
    pupil.click("t")
    pupil.until(lambda: not (pupil.project / "checkpoints" / "small-fine-tuned").exists())
    pupil.key("q")
    pupil.ended()
    assert not pupil.taught


def test_ctrl_c_ends_a_lesson_and_the_window_with_a_line_each(pupil):
    pupil.key("t")
    pupil.until((pupil.project / "checkpoints" / "small-fine-tuned").exists)
    pupil.process.send_signal(signal.SIGINT)
    lines = pupil.ended(130).splitlines()
    assert lines == ["the lesson was stopped before its end; nothing has changed", "error: interrupted"]
    assert not (pupil.project / "checkpoints" / "small-fine-tuned").exists()


def test_teaching_without_drawings_is_a_line_that_says_what_to_do(loaded):
    loaded.click("t")
    loaded.until(lambda: "warning: nothing to teach: draw, then save" in loaded.err.read_text())
    loaded.draw("7", WHOLE)
    loaded.key("q")
    loaded.ended()
    assert loaded.painted == ["7"]


def test_a_training_that_fails_is_a_line_with_its_reason(screen, project, drawings, small_run):
    broken = project / "checkpoints" / "broken"
    shutil.copytree(small_run, broken)
    config = broken / "config.yaml"
    config.write_text(re.sub("data_dir: .*", "data_dir: /gone", config.read_text()))
    running = Running(screen, project, "--checkpoint", broken).until_it_draws()
    running.click("t")
    running.until(lambda: "warning: teaching failed: " in running.err.read_text())
    assert "/gone" in running.err.read_text()
    config.unlink()
    running.click("t")
    running.until(lambda: "cannot teach: there is no config.yaml in" in running.err.read_text())
    running.key("q")
    assert len(running.ended().splitlines()) == 2
