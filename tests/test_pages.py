"""Photos of pages: every digit found, in order, and read, with four pens on plain, ruled and squared paper."""

import csv
import json

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, script
from pages import PENS, draw_pages

from digits.evaluation.classifier import Classifier
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist
from digits.imaging.segmentation import find_digits


@pytest.fixture(scope="module")
def pages(mnist_train):
    """Ten pages with each of four pens, ten digits each: `(pen, Page)`."""
    return draw_pages(10, mnist_train)


def cut_out(image, box):
    x, y, width, height = box
    margin = 0.3 * max(width, height)
    top, left = max(0, int(y - margin)), max(0, int(x - margin))
    return image[top : int(y + height + margin), left : int(x + width + margin)]


def read_or_black(image):
    try:
        return to_mnist(image)
    except BlankImage:
        return np.zeros((28, 28), np.float32)


def in_order(found, page):
    """Whether these boxes are those of the page's digits, one by one."""
    if len(found) != len(page.boxes):
        return False
    middles = [(x + w / 2, y + h / 2) for x, y, w, h in found]
    return all(
        abs(at_x - x - w / 2) < 0.4 * max(w, h) and abs(at_y - y - h / 2) < 0.4 * max(w, h)
        for (at_x, at_y), (x, y, w, h) in zip(middles, page.boxes, strict=True)
    )


def test_at_least_98_percent_of_the_digits_on_pages_are_read_right(pages):
    """400 digits, cut out with what is around them."""
    seen = np.stack([read_or_black(cut_out(page.image, box)) for _, page in pages for box in page.boxes])
    labels = np.concatenate([page.labels for _, page in pages])
    right = np.array([int(answer.label) for answer in Classifier().predict(seen)]) == labels
    by_pen = {pen: right.reshape(len(pages), -1)[[name == pen for name, _ in pages]].mean() for pen in PENS}
    assert len(right) == 400
    assert right.mean() >= 0.98, by_pen


def test_the_digits_of_whole_pages_are_found_and_read(pages):
    found = [find_digits(page.image) for _, page in pages]
    whole = [i for i, (_, page) in enumerate(pages) if in_order([figure.box for figure in found[i]], page)]
    assert len(whole) >= 0.9 * len(pages)
    seen = np.stack([figure.image for i in whole for figure in found[i]])
    labels = np.concatenate([pages[i][1].labels for i in whole])
    assert np.mean([int(answer.label) for answer in Classifier().predict(seen)] == labels) >= 0.97


def test_many_finds_every_digit_of_ten_pages_in_order(tmp_path, mnist_train):
    drawn = draw_pages(10, mnist_train, seed=3, pens=("felt pen",))
    for number, (_, page) in enumerate(drawn):
        cv2.imwrite(str(tmp_path / f"{number}.png"), page.image)
    done = script("predict.py", tmp_path, "--many", "--json")
    assert done.returncode == 0, done.stderr
    for row, (_, page) in zip(json.loads(done.stdout), drawn, strict=True):
        assert in_order([figure["box"] for figure in row["figures"]], page), row["path"]


# predict.py --many


@pytest.fixture(scope="module")
def photo(pages, tmp_path_factory):
    """A page with its truth."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    page = next(page for pen, page in pages if pen == "felt pen")
    cv2.imwrite(str(path), page.image)
    return path, page


def test_many_prints_the_digits_line_by_line(photo):
    path, page = photo
    done = script("predict.py", path, "--many")
    first, *lines = done.stdout.splitlines()
    assert first == f"{path}:"
    marks = " ".join(lines).split()
    assert len(marks) == 10
    assert sum(mark.rstrip("?") == str(label) for mark, label in zip(marks, page.labels, strict=True)) >= 9


def test_many_writes_json_a_csv_and_a_marked_picture(tmp_path, photo):
    path, _ = photo
    done = script("predict.py", path, "--many", "--json", "--csv", tmp_path / "o.csv", "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert list(row) == ["path", "error", "figures"]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert ",".join(rows[0]) == "path,label,confidence,trusted,error,reason,line,x,y,width,height"
    assert len(rows) == len(row["figures"]) == 10
    for figure, cells in zip(row["figures"], rows, strict=True):
        assert figure["label"] == cells["label"]
        assert figure["box"] == [int(cells[side]) for side in ("x", "y", "width", "height")]
        assert figure["confidence"] == max(figure["probs"].values())
        assert {"line", "trusted", "reason"} <= figure.keys()
    marked = cv2.imread(str(tmp_path / "outputs" / "photo_digits.png"))
    assert marked is not None


def test_many_says_blank_and_goes_on_after_a_bad_picture(tmp_path, photo):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((300, 300), 255, np.uint8))
    (tmp_path / "b.png").write_text("no picture")
    done = script("predict.py", tmp_path, photo[0], "--many", "--csv", tmp_path / "o.csv")
    assert_one_line_error(done, "b.png: not a picture")
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: blank\n{photo[0]}:\n")
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert rows[0]["reason"] == "blank"
    assert "not a picture" in rows[1]["error"]


def test_many_marks_the_doubtful_and_what_is_no_digit(tmp_path):
    canvas = np.zeros((200, 500), np.uint8)
    cv2.putText(canvas, "1", (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 12, cv2.LINE_AA)
    cv2.putText(canvas, "M", (240, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 12, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "a.png"), canvas)
    marks = script("predict.py", tmp_path / "a.png", "--many").stdout.split()[1:]
    assert marks[0] in ("1", "1?")
    assert marks[1] == "-"
