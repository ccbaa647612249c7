"""Photos of pages: every digit is found, in order, and read, with four pens on plain, ruled and squared paper."""

import csv
import json

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, call, script
from pages import PENS, draw_pages

import predict
from digits.evaluation.classifier import Classifier
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist
from digits.imaging.segmentation import find_digits


@pytest.fixture(scope="module")
def pages(mnist_train):
    """Ten pages with each of four pens, ten digits per page: `(pen, Page)`."""
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


def match_in_order(boxes, page):
    """Whether the boxes are at the page's digits, one by one."""
    if len(boxes) != len(page.boxes):
        return False
    centers = [(x + w / 2, y + h / 2) for x, y, w, h in boxes]
    return all(
        abs(center_x - x - w / 2) < 0.4 * max(w, h) and abs(center_y - y - h / 2) < 0.4 * max(w, h)
        for (center_x, center_y), (x, y, w, h) in zip(centers, page.boxes, strict=True)
    )


def test_at_least_98_percent_of_the_digits_on_pages_are_read_correctly(pages):
    """400 digits, cut out with their surroundings."""
    images = np.stack([read_or_black(cut_out(page.image, box)) for _, page in pages for box in page.boxes])
    labels = np.concatenate([page.labels for _, page in pages])
    correct = np.array([int(prediction.label) for prediction in Classifier().predict(images)]) == labels
    by_pen = {pen: correct.reshape(len(pages), -1)[[name == pen for name, _ in pages]].mean() for pen in PENS}
    assert len(correct) == 400
    assert correct.mean() >= 0.98, by_pen


def test_the_digits_of_whole_pages_are_found_and_read(pages):
    found = [find_digits(page.image) for _, page in pages]
    complete = [i for i, (_, page) in enumerate(pages) if match_in_order([segment.box for segment in found[i]], page)]
    assert len(complete) >= 0.9 * len(pages)
    images = np.stack([segment.image for i in complete for segment in found[i]])
    labels = np.concatenate([pages[i][1].labels for i in complete])
    assert np.mean([int(prediction.label) for prediction in Classifier().predict(images)] == labels) >= 0.97


def test_many_finds_every_digit_of_ten_pages_in_order(tmp_path, mnist_train):
    drawn = draw_pages(10, mnist_train, seed=3, pens=("felt pen",))
    for number, (_, page) in enumerate(drawn):
        cv2.imwrite(str(tmp_path / f"{number}.png"), page.image)
    done = call(predict.main, tmp_path, "--many", "--json")
    assert done.returncode == 0, done.stderr
    for row, (_, page) in zip(json.loads(done.stdout), drawn, strict=True):
        assert match_in_order([figure["box"] for figure in row["figures"]], page), row["path"]


# predict.py --many


@pytest.fixture(scope="module")
def photo(pages, tmp_path_factory):
    """The path of a page, and the page with its labels."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    page = next(page for pen, page in pages if pen == "felt pen")
    cv2.imwrite(str(path), page.image)
    return path, page


def test_many_prints_the_digits_line_by_line(photo):
    """In a process of its own, as a user runs it."""
    path, page = photo
    done = script("predict.py", path, "--many")
    first, *lines = done.stdout.splitlines()
    assert first == f"{path}:"
    marks = " ".join(lines).split()
    assert len(marks) == 10
    assert sum(mark.rstrip("?") == str(label) for mark, label in zip(marks, page.labels, strict=True)) >= 9


def test_many_writes_json_a_csv_and_a_marked_picture(tmp_path, photo):
    path, _ = photo
    done = call(predict.main, path, "--many", "--json", "--csv", tmp_path / "o.csv", "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert list(row) == ["path", "error", "figures"]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert ",".join(rows[0]) == "path,label,confidence,trusted,error,reason,line,x,y,width,height,candidates"
    assert len(rows) == len(row["figures"]) == 10
    for figure, cells in zip(row["figures"], rows, strict=True):
        assert figure["label"] == cells["label"]
        assert figure["box"] == [int(cells[side]) for side in ("x", "y", "width", "height")]
        assert figure["confidence"] == max(figure["probs"].values())
        assert {"line", "trusted", "reason"} <= figure.keys()
    marked = cv2.imread(str(tmp_path / "outputs" / "photo_digits.png"))
    assert marked is not None


def test_many_reports_a_blank_picture_and_continues_after_a_broken_one(tmp_path, photo):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((300, 300), 255, np.uint8))
    (tmp_path / "b.png").write_text("not a picture")
    done = call(predict.main, tmp_path, photo[0], "--many", "--csv", tmp_path / "o.csv")
    assert_one_line_error(done, "b.png: not a picture")
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: blank\n{photo[0]}:\n")
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert rows[0]["reason"] == "blank"
    assert "not a picture" in rows[1]["error"]


def test_many_marks_doubtful_digits_and_figures_that_are_not_digits(tmp_path):
    canvas = np.zeros((200, 500), np.uint8)
    cv2.putText(canvas, "1", (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 12, cv2.LINE_AA)
    cv2.putText(canvas, "M", (240, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 12, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "a.png"), canvas)
    marks = call(predict.main, tmp_path / "a.png", "--many").stdout.split()[1:]
    assert marks[0] in ("1", "1?")
    assert marks[1] == "-"
