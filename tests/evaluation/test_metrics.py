"""Scores are what a person would count by hand, and no set of images makes them fail."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from digitscan.evaluation.metrics import (
    NO_DIGIT,
    Answers,
    compute_calibration,
    compute_metrics,
    compute_share,
    find_threshold,
    measure_coverage,
    round_down,
)


def make_answers(*rows, threshold=0.9):
    """Answers of (label, prediction, confidence); `ok` from the threshold on."""
    labels, predictions, confidences = (np.array(column) for column in zip(*rows, strict=True))
    is_read = predictions != NO_DIGIT
    return Answers(
        tuple(map(str, range(len(rows)))),
        labels.astype(np.int64),
        predictions.astype(np.int64),
        confidences.astype(float),
        is_read & (confidences >= threshold),
        is_read,
    )


FEW = make_answers(
    (1, 1, 0.99),
    (1, 7, 0.95),
    (7, 7, 0.8),
    (7, NO_DIGIT, 0.0),
    (NO_DIGIT, NO_DIGIT, 0.0),
    (NO_DIGIT, 3, 0.97),
)


def test_shares_count_digits_and_images_without_one_apart():
    metrics = compute_metrics(FEW)
    assert (metrics.accuracy.count, metrics.accuracy.total) == (2, 4)
    assert (metrics.ok.count, metrics.ok.total) == (2, 4)
    assert (metrics.wrong_ok.count, metrics.wrong_ok.total) == (1, 2)
    assert (metrics.rejected.count, metrics.rejected.total) == (1, 4)
    assert (metrics.negatives_rejected.count, metrics.negatives_rejected.total) == (1, 2)
    assert (metrics.negatives_ok.count, metrics.negatives_ok.total) == (1, 2)


def test_each_digit_that_is_shown_has_its_scores():
    one, seven = compute_metrics(FEW).digits
    assert (one.label, one.count, one.precision, one.recall) == (1, 2, 1.0, 0.5)
    assert one.f1 == pytest.approx(2 / 3)
    assert (seven.label, seven.precision, seven.recall) == (7, 0.5, 0.5)


def test_a_digit_that_was_never_read_has_no_precision():
    (three,) = compute_metrics(make_answers((3, 5, 0.9))).digits
    assert np.isnan(three.precision) and three.recall == 0.0


def test_the_confusion_matrix_has_a_row_for_each_label():
    confusion = compute_metrics(FEW).confusion
    assert confusion.shape == (11, 11)
    assert confusion[1, 7] == confusion[7, NO_DIGIT] == confusion[NO_DIGIT, 3] == 1
    assert confusion.sum() == len(FEW)


def test_the_interval_of_a_share_is_wilsons():
    share = compute_share(98, 100)
    # From Wilson 1927's formula, worked out by hand.
    assert (share.low, share.high) == (pytest.approx(0.93, abs=5e-4), pytest.approx(0.9945, abs=5e-4))
    assert compute_share(0, 0).value != compute_share(0, 0).value


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy():
    confidences = np.array([0.95] * 4 + [0.65] * 4)
    is_right = np.array([True] * 4 + [True, False, False, False])
    error, (low, high) = compute_calibration(confidences, is_right)
    assert (low.count, low.accuracy) == (4, 0.25)
    assert (high.count, high.mean_confidence) == (4, pytest.approx(0.95))
    assert error == pytest.approx((0.05 + 0.40) / 2)


def test_coverage_is_what_a_threshold_would_mark_ok():
    point = measure_coverage(FEW, 0.9)
    assert (point.ok.count, point.wrong.count) == (2, 1)
    assert measure_coverage(FEW, 0.0).ok.count == 3


def test_the_threshold_for_a_wanted_error_marks_as_many_ok_as_it_can():
    answers = make_answers((1, 1, 0.99), (1, 1, 0.9), (1, 2, 0.8), (1, 1, 0.7), (1, 1, 0.6))
    assert find_threshold(answers, 0.0).ok.count == 2
    assert find_threshold(answers, 0.25).ok.count == 5
    assert find_threshold(answers, 0.25).threshold <= 0.6
    assert find_threshold(make_answers((1, 2, 0.99)), 0.0) is None


def test_images_of_one_confidence_are_ok_all_or_none():
    answers = make_answers((1, 1, 0.9), (1, 2, 0.9), (1, 1, 0.9))
    assert find_threshold(answers, 0.1) is None


ROWS = st.tuples(st.integers(0, 10), st.integers(0, 10), st.floats(0, 1))


@pytest.mark.parametrize(
    ("confidence", "rounded"),
    [(0.9999999999999999, 0.9999), (1.0, 1.0), (0.93, 0.93), (0.93006, 0.93), (0.93004, 0.93), (0.0, 0.0)],
)
def test_a_threshold_is_never_above_the_confidence_that_it_is_made_of(confidence, rounded):
    assert round_down(np.array([confidence])).tolist() == [rounded]


@hypothesis.given(st.lists(ROWS, min_size=1, max_size=40), st.floats(0, 1))
@hypothesis.settings(max_examples=60)
def test_any_answers_have_scores_and_a_threshold_keeps_its_promise(rows, max_wrong):
    answers = make_answers(*rows)
    metrics = compute_metrics(answers)
    assert metrics.confusion.sum() == len(rows)
    assert sum(each.count for each in metrics.digits) == metrics.accuracy.total
    point = find_threshold(answers, max_wrong)
    if point is not None:
        assert point.threshold == round(point.threshold, 4)
        assert point.wrong.value <= max_wrong
        assert 0.0 <= point.wrong.low <= point.wrong.value <= point.wrong.high <= 1.0
