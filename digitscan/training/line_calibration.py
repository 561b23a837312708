"""Calibration of a network that reads lines: its temperature, and the confidence from which a row is `ok`.

As `calibration` does for digits: both are fitted to what the compiled model answers, to numbers composed of
the validation digits, writers and fonts, which the network has not learned from. The temperature comes first,
from one view of each line; the threshold is fitted to what a scan reads with it, in all views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.evaluation.metrics import round_down
from digitscan.model.ctc import compute_probabilities, merge_separators
from digitscan.model.line_classifier import LineClassifier
from digitscan.model.line_reader import LineReader
from digitscan.model.number_reading import apply_temperature
from digitscan.model.number_rules import NumberRules
from digitscan.training.certain_threshold import count_allowed_wrong, fit_certain_threshold
from digitscan.training.data.number_generator import LabelledLine
from digitscan.training.line_task import keep_digits

MAX_OK_WRONG = 0.005
"""The share of wrong numbers among those marked `ok`, at most."""
MAX_NEGATIVES_OK = 0.02
"""The share of the words, scribbles and empty fields that is marked `ok`, at most."""
MIN_THRESHOLD = 0.5
TEMPERATURES = np.geomspace(0.6, 3.0, 25)
"""The temperatures to choose from."""
TEMPERATURE_LINES = 3000
"""The lines that the temperature is fitted to: it is one number, and the threshold needs all."""


class LineCalibration(NamedTuple):
    """What a line model's metadata say of its confidences."""

    temperature: float
    ok_confidence: float | None
    """None where no threshold keeps the promise."""


class LineScores(NamedTuple):
    """How a line model reads numbers."""

    accuracy: float
    """The share of the numbers that are read right, 0 to 1."""
    ok_share: float
    """The share of them that is marked `ok`."""
    ok_wrong_share: float
    """The share of these that is wrong; 0 where none is `ok`."""


class _Readings(NamedTuple):
    """What was read of lines, (N,) each."""

    confidences: NDArray[np.float64]
    """0 where a row would never be `ok`."""
    is_right: NDArray[np.bool_]
    is_number: NDArray[np.bool_]
    """Whether there is a number in the line."""


def calibrate_lines(
    classifier: LineClassifier, lines: Sequence[LabelledLine], digit_count: int | None = None
) -> LineCalibration:
    """Return the calibration of a network, by what it reads in these lines.

    `digit_count` is the number of different images that the digits of the lines come from, if they are few.
    The threshold is then fitted to no more numbers than so many digits make: thousands of numbers that are
    composed of the same ten images prove no more than these.
    """
    first = lines[:TEMPERATURE_LINES]
    answers = classifier.classify([line.pixels for line in first])
    temperature = fit_line_temperature(answers, [keep_digits(line.symbols) for line in first])
    if digit_count is not None:
        totals = np.cumsum([len(keep_digits(line.symbols)) for line in lines])
        lines = lines[: int(np.searchsorted(totals, digit_count, side="right"))]
    return LineCalibration(temperature, _fit_threshold(*_read(classifier, lines, temperature)))


def measure_lines(
    classifier: LineClassifier, lines: Sequence[LabelledLine], calibration: LineCalibration
) -> LineScores:
    """Return how a calibrated network reads the numbers among lines."""
    confidences, is_right, is_number = _read(classifier, lines, calibration.temperature)
    limit = 2.0 if calibration.ok_confidence is None else calibration.ok_confidence
    is_ok = is_number & (confidences >= limit)
    return LineScores(
        float(is_right[is_number].mean()),
        float(is_ok[is_number].mean()),
        float((~is_right[is_ok]).mean()) if is_ok.any() else 0.0,
    )


def _read(classifier: LineClassifier, lines: Sequence[LabelledLine], temperature: float) -> _Readings:
    reader = LineReader(classifier, temperature, NumberRules())
    readings = reader.read([line.pixels for line in lines])
    texts = ["".join(map(str, keep_digits(line.symbols))) for line in lines]
    confidences = [
        0.0 if not reading.number or reading.needs_review else reading.confidence for reading in readings
    ]
    is_right = [reading.number == text for reading, text in zip(readings, texts, strict=True)]
    return _Readings(np.array(confidences), np.array(is_right), np.array([bool(text) for text in texts]))


def fit_line_temperature(
    answers: Sequence[NDArray[np.floating]], numbers: Sequence[tuple[int, ...]]
) -> float:
    """Return the temperature that gives the right numbers the highest probability, on geometric mean."""
    losses = []
    for temperature in TEMPERATURES.tolist():
        loss = 0.0
        for answer, number in zip(answers, numbers, strict=True):
            digits = merge_separators(apply_temperature(answer, temperature))
            loss -= np.log(max(1e-12, float(compute_probabilities(digits, [number])[0])))
        losses.append(loss)
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)


def _fit_threshold(
    confidences: NDArray[np.float64], is_right: NDArray[np.bool_], is_number: NDArray[np.bool_]
) -> float | None:
    """Return the lowest confidence that keeps both promises, with 4 decimals; None if there is none.

    Each is proved with CONFIDENCE_LEVEL.
    """
    fitted = fit_certain_threshold(confidences[is_number], ~is_right[is_number], MAX_OK_WRONG)
    if fitted is None:
        return None
    threshold = max(MIN_THRESHOLD, fitted.threshold)
    negatives = np.sort(confidences[~is_number])[::-1]
    if negatives.size:
        # Just above the most confident one that must not be `ok`: so few prove that the share is kept.
        allowed = int(count_allowed_wrong(negatives.size, MAX_NEGATIVES_OK)[-1])
        if allowed < 0:  # too few to prove anything
            return None
        limit = float(round_down(negatives[[allowed]])[0])
        threshold = max(threshold, limit + 1e-4)
    return round(threshold, 4) if threshold <= 0.99995 else None
