"""What a row makes of a model's probabilities, and who is asked for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digitscan.imaging.preprocess import PREPROCESS_VERSION
from digitscan.model.classifier import Cascade, decide
from digitscan.model.metadata import ModelMetadata
from digitscan.prediction import Status

FACTS = ModelMetadata(
    architecture="cnn", classes=11, preprocess_version=PREPROCESS_VERSION, temperature=1.5, ok_confidence=0.8
)


def probabilities(**values: float) -> list[float]:
    return [values.get(f"p{k}", 0.0) for k in range(11)]


@pytest.mark.parametrize(
    ("given", "limit", "expected"),
    [
        (probabilities(p3=0.9, p5=0.1), None, (3, 0.9, Status.OK, "")),
        (probabilities(p3=0.8, p5=0.2), None, (3, 0.8, Status.OK, "")),
        (probabilities(p3=0.7, p5=0.3), None, (3, 0.7, Status.REVIEW, "between 3 and 5")),
        (probabilities(p3=0.7, p5=0.1, p6=0.1, p10=0.1), None, (3, 0.7, Status.REVIEW, "doubtful")),
        (probabilities(p3=0.7, p5=0.3), 0.6, (3, 0.7, Status.OK, "")),
        (probabilities(p3=0.9, p5=0.1), 0.95, (3, 0.9, Status.REVIEW, "doubtful")),
        (probabilities(p3=0.4, p10=0.6), 0.0, (None, None, Status.NO_DIGIT, "not like any digit")),
        (probabilities(p3=0.3, p5=0.3, p10=0.4), 0.0, (None, None, Status.NO_DIGIT, "not like any digit")),
        (probabilities(p3=0.5, p10=0.5), None, (3, 0.5, Status.REVIEW, "doubtful")),
        (probabilities(p3=float("nan")), None, (None, None, Status.ERROR, "the model gave no number")),
    ],
)
def test_probabilities_become_a_digit_and_a_status(
    given: list[float], limit: float | None, expected: tuple[Any, ...]
) -> None:
    """The model's own limit unless the user gives one."""
    assert decide(given, FACTS, limit) == expected


def test_an_uncalibrated_model_leaves_every_row_to_a_person() -> None:
    """Unless the user says from which confidence on a row is ok."""
    metadata = dataclasses.replace(FACTS, ok_confidence=None, classes=10)
    cascade_threshold = probabilities(p3=0.999, p5=0.001)[:10]
    assert decide(cascade_threshold, metadata) == (3, 0.999, Status.REVIEW, "model not calibrated")
    assert decide(cascade_threshold, metadata, 0.9) == (3, 0.999, Status.OK, "")


class _Fixed:
    """Answers each image with the row of `rows` that its first pixel names."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows, self.asked = np.array(rows), 0

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.asked += len(images)
        return self.rows[images[:, 0, 0]]


def test_the_other_model_is_asked_where_the_quick_one_is_not_sure() -> None:
    cascade_threshold, unsure, no_digit = (
        probabilities(p3=0.95, p5=0.05),
        probabilities(p3=0.9, p5=0.1),
        probabilities(p10=1),
    )
    other = [probabilities(p7=1.0), probabilities(p5=1.0), probabilities(p8=1.0)]
    images = np.zeros((4, 28, 28), np.uint8)
    images[:, 0, 0] = [2, 0, 1, 0]
    asked = _Fixed(other)
    answered = Cascade(_Fixed([cascade_threshold, unsure, no_digit]), 0.95, asked).classify(images)
    assert np.array_equal(answered, [other[2], cascade_threshold, other[1], cascade_threshold])
    assert asked.asked == 2
