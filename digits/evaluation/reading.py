"""The result of reading a picture, a figure on a page, or a drawing."""

from dataclasses import dataclass, replace

import numpy as np

from digits.text import columns, confidence, pad, shorten

# Reasons why a prediction is not trusted
LOW_CONFIDENCE, NOT_A_DIGIT, SEVERAL_DIGITS, BLANK = "low confidence", "not a digit", "several digits", "blank"
SLASH, TOUCHING = "may be a slash", "touches its neighbor"
NO_KNOWN_CLASS = "none of the classes"  # replaces NOT_A_DIGIT where the classes are not digits

_ANSWERS = (None, LOW_CONFIDENCE, SLASH, TOUCHING)  # reasons with which the label is an answer

_MAX_CANDIDATES = 4  # more are no help, and stay unnamed
_MAX_SHOWN = 12  # classes whose probability is listed, the most probable first


@dataclass(frozen=True, eq=False)
class Reading:
    """The prediction for one picture, one figure on a page, or one drawing.

    Attributes:
        label: the most probable class; None if the picture is blank or cannot be read.
        confidence: the probability of `label`, in [0, 1].
        probs: float [num_classes], the probability of each class.
        trusted: whether the confidence is high enough to rely on; None if the network was never calibrated.
        reason: why it is not trusted, one of the constants above; with `NOT_A_DIGIT` and `SEVERAL_DIGITS`, the
            label is only the nearest class.
        image: the network's input: float32 [28, 28] in MNIST format, ink bright, or a photo uint8 [S, S, 3].
        path: the picture's file.
        box: x, y, width, height in pixels, if the figure was found on a page.
        line: the number of its line of writing on the page, from 0.
        error: why the file cannot be read.
        candidates: the classes that the answer is one of, the most probable first: with low confidence, as many as it
            takes to include the right one with the promised probability; else the label alone, or none.
    """

    label: str | None = None
    confidence: float | None = None
    probs: np.ndarray | None = None
    trusted: bool | None = None
    reason: str | None = None
    image: np.ndarray | None = None
    path: str | None = None
    box: tuple[int, int, int, int] | None = None
    line: int | None = None
    error: str | None = None
    candidates: tuple[str, ...] = ()

    @property
    def is_answer(self) -> bool:
        """Whether the label is an answer, trusted or not; otherwise it is only the nearest class."""
        return self.label is not None and self.reason in _ANSWERS

    @property
    def doubt(self) -> str | None:
        """Why an answer is not trusted: `4 or 9`, else the reason."""
        if self.reason != LOW_CONFIDENCE or not 2 <= len(self.candidates) <= _MAX_CANDIDATES:
            return self.reason
        return f"{', '.join(self.candidates[:-1])} or {self.candidates[-1]}"

    def doubted(self, reason: str | None) -> "Reading":
        """Return the same reading, not trusted for this reason; unchanged if there is none."""
        if reason is None or (reason == SLASH and self.reason):
            return self
        candidates = self.candidates if reason in _ANSWERS else ()
        return replace(self, trusted=None if self.trusted is None else False, reason=reason, candidates=candidates)

    def as_row(self) -> dict:
        """Return the attributes as the columns of a CSV file; `candidates` are separated by "|"."""
        return vars(self) | {"candidates": "|".join(self.candidates)}

    def describe(self) -> str:
        """Say it in words.

        `7, 98.97% sure`; `4?, 61.20% sure: 4 or 9`; `7?, 61.20% sure: low confidence`; `blank`;
        `not a digit; the nearest is 7, 41.02%`.
        """
        if self.error:
            return self.error
        if self.label is None:
            return self.reason
        if not self.is_answer:
            return f"{self.reason}; the nearest is {self.label}, {confidence(self.confidence)}"
        doubt, why = ("?", f": {self.doubt}") if self.reason else ("", "")
        return f"{self.label}{doubt}, {confidence(self.confidence)} sure{why}"

    def describe_fully(self, classes: list[str]) -> str:
        """Say it in words, and below them the probability of each class, in figures and as a bar."""
        if self.label is None:
            return self.describe()
        rows = list(zip(shorten(classes), self.probs, strict=True))
        if len(rows) > _MAX_SHOWN:
            rows = sorted(rows, key=lambda row: -row[1])[:_MAX_SHOWN]
        width = max(columns(name) for name, _ in rows)
        bars = [f"  {pad(name, width)}  {prob:8.4%}  {'#' * round(40 * prob)}".rstrip() for name, prob in rows]
        return "\n".join([self.describe(), "", *bars])
