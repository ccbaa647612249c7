"""Text in tables and file names: shortened, padded, and shares in percent."""

import os
import unicodedata

import numpy as np
import pytest

from digits import text
from digits.evaluation import prediction_plots
from digits.evaluation.metrics import confusion_matrix, format_confusions, format_report, summarize
from digits.evaluation.reading import LOW_CONFIDENCE, NOT_A_DIGIT, SLASH, Reading


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50.00%"), (0.99994, "99.99%"), (0.99996, ">99.99%"), (0.9999999, ">99.99%"), (1, "100.00%"), (0, "0.00%")],
)
def test_only_all_is_a_hundred_percent(share, expected):
    assert text.percent(share) == expected
    assert text.percent(0.9996, 1) == ">99.9%"


def test_no_probability_is_a_hundred_percent():
    assert text.confidence(1.0) == text.confidence(0.99999) == ">99.99%"
    assert text.confidence(0.9999) == "99.99%"
    assert Reading("7", 0.999999).describe() == "7, >99.99% sure"
    assert Reading("7", 1.0, reason=LOW_CONFIDENCE).describe() == "7?, >99.99% sure: low confidence"


def test_the_accuracy_of_all_but_one_of_many_images_is_not_a_hundred_percent():
    counts = np.diag([50_000, 50_000])
    assert "accuracy 100.00%: 0 of 100,000 images wrong" in format_report(summarize(counts), ["a", "b"])
    counts[0, 1] += 1
    assert "accuracy >99.99%: 1 of 100,001 images wrong" in format_report(summarize(counts), ["a", "b"])


def test_long_names_are_shortened_and_stay_different():
    names = ["a" * 100, "a" * 99 + "b", "c", "\u6570" * 30]
    short = text.shorten(names)
    assert len(set(short)) == 4
    assert short[2] == "c"
    assert all(text.columns(name) <= text.MAX_NAME_WIDTH for name in short)
    assert text.shorten(["cat", "dog"]) == ["cat", "dog"]


def test_columns_count_wide_letters_twice_and_accents_not_at_all():
    assert text.columns("\u6570\u5b57") == 4
    assert text.columns(unicodedata.normalize("NFD", "na\u00efve")) == 5
    assert text.pad("\u6570", 4) == "\u6570  "
    assert text.pad("\u6570", 4, right=True) == "  \u6570"


def test_tables_of_long_and_wide_names_are_aligned_and_fit_a_screen():
    classes = ["x" * 250, "\u6570\u5b57", "cat"]
    labels, preds = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])
    counts = confusion_matrix(labels, preds, 3)
    rows = format_report(summarize(counts), classes).splitlines()[:-1]
    assert {text.columns(row) for row in rows} == {text.columns(rows[0])}
    rows = format_confusions(counts, classes).splitlines()[:4]
    assert {text.columns(row) for row in rows} == {text.columns(rows[0])}
    assert max(map(text.columns, rows)) < 120
    bars = Reading("cat", 0.5, np.array([0.25, 0.25, 0.5])).describe_fully(classes).splitlines()[2:]
    assert len({text.columns(bar[: bar.index("%")]) for bar in bars}) == 1


def test_a_file_name_is_shortened_by_its_bytes():
    for stem in ("a" * 255, "\u6570" * 85, "\U0001f431" * 63, os.fsdecode(b"\xff" * 255)):
        assert 190 < len(os.fsencode(text.file_name(stem))) <= 200
    assert text.file_name("short") == "short"


def test_plots_of_pictures_have_different_names_that_a_file_system_accepts():
    long = ["a" * 240 + "1", "a" * 240 + "2", "\u6570" * 80]
    names = prediction_plots.unique_names([f"{stem}.png" for stem in [*long, "x/7", "y/7", "7_4", "b"]])
    assert len(set(names)) == 7
    assert names[-1] == "b"
    assert max(len(os.fsencode(name)) for name in names) < 230


def test_candidates_replace_the_reason_only_where_there_are_several():
    assert Reading("4", 0.612, reason=LOW_CONFIDENCE, candidates=("4", "9")).describe() == "4?, 61.20% sure: 4 or 9"
    three = Reading("4", 0.612, reason=LOW_CONFIDENCE, candidates=("4", "9", "7"))
    assert three.describe() == "4?, 61.20% sure: 4, 9 or 7"
    assert three.as_row()["candidates"] == "4|9|7"
    assert Reading("4", 0.6, reason=LOW_CONFIDENCE, candidates=("4",)).doubt == LOW_CONFIDENCE
    assert Reading("4", 0.999, trusted=True, candidates=("4",)).doubt is None


def test_a_picture_that_is_not_a_digit_has_no_candidates():
    doubted = Reading("1", 0.9, trusted=True, candidates=("1",)).doubted(NOT_A_DIGIT)
    assert (doubted.trusted, doubted.candidates, doubted.is_answer) == (False, (), False)
    slash = Reading("1", 0.9, trusted=True, candidates=("1",)).doubted(SLASH)
    assert (slash.trusted, slash.candidates, slash.describe()) == (False, ("1",), "1?, 90.00% sure: may be a slash")
    assert Reading("1", 0.2, trusted=False, reason=NOT_A_DIGIT).doubted(SLASH).reason == NOT_A_DIGIT
