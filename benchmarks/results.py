"""The results of a benchmark: printed as tables, kept in a CSV file, drawn as a bar chart."""

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from digits.files import output_file, write_csv

COLUMNS = ("part", "row", "unit", "rounds", "median", "min", "max", "machine")
_RATIO = "x"  # unit of the rows that the chart shows


@dataclass(frozen=True)
class Row:
    """One measurement of each round: seconds, percent, or how many times as fast as the baseline (unit `x`)."""

    name: str
    values: list[float]
    unit: str = "s"

    @property
    def spread(self) -> tuple[float, float, float]:
        """Median, smallest and largest value."""
        return statistics.median(self.values), min(self.values), max(self.values)


def ratio(name: str, baseline: list[float], ours: list[float]) -> Row:
    """Return how many times as long the baseline takes, round by round."""
    return Row(name, [a / b for a, b in zip(baseline, ours, strict=True)], _RATIO)


def show(title: str, rows: list[Row]) -> None:
    """Print a table: median, smallest and largest value of each row."""
    width = max(len(row.name) for row in rows)
    print(f"\n{title}, {len(rows[0].values)} rounds: median (min to max)")
    for row in rows:
        middle, low, high = row.spread
        print(f"  {row.name:{width}}  {middle:7.2f} {row.unit:2}  ({low:.2f} to {high:.2f})", flush=True)


def save(path: Path, part: str, rows: list[Row], machine: str) -> None:
    """Write the rows of a part to a CSV file, in place of those that an earlier run has left there."""
    others = [row for row in load(path) if row["part"] != part] if path.exists() else []
    for row in rows:
        figures = (f"{value:.4g}" for value in row.spread)
        values = (part, row.name, row.unit, len(row.values), *figures, machine)
        others.append(dict(zip(COLUMNS, values, strict=True)))
    write_csv(output_file(path), COLUMNS, others)


def load(path: Path) -> list[dict[str, str]]:
    """Read the rows that `save` has written."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw(rows: list[dict[str, str]]) -> Figure | None:
    """Draw how many times as fast as its baseline each comparison is: bars from 1, lines for the spread.

    None if no row is a comparison.
    """
    rows = [row for row in rows if row["unit"] == _RATIO][::-1]
    if not rows:
        return None
    median, low, high = ([float(row[name]) for row in rows] for name in ("median", "min", "max"))
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [value - 1 for value in median], left=1, height=0.6, color="#4878a8")
    axes.hlines(places, low, high, color="#1c2f45", linewidth=2)
    for place, value, end in zip(places, median, high, strict=True):
        axes.annotate(f"{value:.2f}x", (max(end, value, 1), place), (6, 0), textcoords="offset points", va="center")
    axes.axvline(1, color="#1c2f45", linewidth=1)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20) if 0.8 * min(low) <= tick <= 2 * max(high)]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(0.8, 0.9 * min(low)), 1.5 * max(high))
    axes.set_yticks(places, [row["row"] for row in rows])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Times as fast as the baseline: median, and the spread of the rounds", loc="left", fontsize=11)
    return figure
