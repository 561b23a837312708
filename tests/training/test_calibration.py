"""Temperature and thresholds do what they promise on the images they are fitted on."""

import numpy as np
import pytest

from digitscan.training.calibration import (
    MAX_NON_DIGITS_OK,
    fit_cascade_threshold,
    fit_ok_threshold,
    fit_rejection_bias,
    fit_temperature,
)


def made(temperature: float, classes: int = 11, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that are overconfident by `temperature`, and labels drawn from the true ones."""
    random = np.random.default_rng(1)
    logits = random.normal(0.0, 2.5, (count, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    sharp = np.exp(logits * temperature)
    return sharp / sharp.sum(axis=1, keepdims=True), labels.astype(np.uint8)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found(temperature: float) -> None:
    probabilities, labels = made(temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("classes", [10, 11])
def test_at_most_the_promised_share_of_ok_rows_is_wrong(classes: int) -> None:
    probabilities, labels = made(1.0, classes)
    ok = fit_ok_threshold(probabilities, labels, 0.02)
    answers = probabilities.argmax(axis=1)
    marked = (probabilities[:, :10].max(axis=1) >= ok) & (answers < 10)
    if classes == 11:
        assert marked[labels == 10].mean() <= MAX_NON_DIGITS_OK + 0.0001
    marked &= labels < 10
    assert marked.sum() > 100
    assert (answers != labels)[marked].mean() <= 0.02


def test_few_digits_are_refused_after_the_shift_and_more_before() -> None:
    probabilities, labels = made(1.0)
    shift = fit_rejection_bias(probabilities, labels, 0.01)
    logits = np.log(probabilities)
    before = (logits.argmax(axis=1) == 10)[labels < 10].mean()
    logits[:, 10] -= shift
    after = (logits.argmax(axis=1) == 10)[labels < 10].mean()
    assert after <= 0.0101 < before


def test_a_model_that_is_always_wrong_marks_nothing_ok() -> None:
    probabilities = np.full((100, 10), 0.01)
    probabilities[:, 3] = 0.9
    assert fit_ok_threshold(probabilities, np.zeros(100, np.uint8), 0.003) == 1.0


def test_from_the_sure_confidence_on_few_differ_and_below_it_more() -> None:
    random = np.random.default_rng(2)
    confidence = random.random(20_000)
    agrees = random.random(20_000) < 0.5 + 0.5 * confidence
    cascade_threshold = fit_cascade_threshold(confidence, agrees, 0.01)
    assert 0 < (~agrees[confidence >= cascade_threshold]).mean() <= 0.01
    assert (~agrees[confidence >= cascade_threshold - 0.02]).mean() > 0.01


def test_a_model_that_never_agrees_is_never_sure() -> None:
    assert fit_cascade_threshold(np.full(10, 0.99), np.zeros(10, bool), 0.001) == 1.0
