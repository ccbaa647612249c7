"""The results of a benchmark: a table on disk that several runs fill, and the chart of its ratios."""

import pytest

from benchmarks import results
from benchmarks.results import Row, ratio


def test_a_part_that_is_measured_again_replaces_its_rows_alone(tmp_path):
    path = tmp_path / "speed.csv"
    results.save(path, "one", [Row("a", [3.0, 1.0, 2.0]), ratio("b", [4.0, 6.0], [2.0, 2.0])], "a machine")
    results.save(path, "two", [Row("c", [5.0])], "a machine")
    results.save(path, "one", [ratio("d", [8.0, 6.0, 9.0], [4.0, 2.0, 2.0])], "another machine")
    rows = [tuple(row.values()) for row in results.load(path)]
    assert rows == [
        ("two", "c", "s", "1", "5", "5", "5", "a machine"),
        ("one", "d", "x", "3", "3", "2", "4.5", "another machine"),
    ]


def test_the_chart_has_a_bar_per_ratio(tmp_path):
    path = tmp_path / "speed.csv"
    results.save(path, "one", [Row("seconds", [3.0]), ratio("fast", [8.0], [2.0]), ratio("slow", [1.0], [2.0])], "")
    (axes,) = results.draw(results.load(path)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slow", "fast"]
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 4])


def test_without_a_comparison_there_is_no_chart(tmp_path):
    results.save(tmp_path / "speed.csv", "window", [Row("idle", [0.5], "%")], "")
    assert results.draw(results.load(tmp_path / "speed.csv")) is None


def test_a_table_shows_median_and_spread(capsys):
    results.show("title", [Row("name", [3.0, 1.0, 2.5])])
    assert capsys.readouterr().out == "\ntitle, 3 rounds: median (min to max)\n  name     2.50 s   (1.00 to 3.00)\n"
