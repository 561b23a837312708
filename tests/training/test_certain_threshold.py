"""The threshold for `ok` that labelled pictures prove: it keeps its promise, also where it was just met."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digitscan.training import certain_threshold
from digitscan.training.certain_threshold import (
    bound_wrong_share,
    count_allowed_wrong,
    count_needed_rows,
    fit_certain_threshold,
    list_tested_counts,
)

MAX_WRONG = 0.02


def fit(confidences, is_wrong, max_wrong=MAX_WRONG):
    return fit_certain_threshold(np.asarray(confidences, float), np.asarray(is_wrong, bool), max_wrong)


@pytest.mark.parametrize("max_wrong", [0.003, 0.01, 0.02, 0.05, 0.5, 0.99])
def test_one_row_less_than_needed_proves_nothing(max_wrong):
    needed = count_needed_rows(max_wrong)
    assert bound_wrong_share(0, needed) <= max_wrong
    assert needed == 1 or bound_wrong_share(0, needed - 1) > max_wrong
    assert fit(np.full(needed, 0.9), np.zeros(needed), max_wrong).ok == needed
    assert fit(np.full(needed - 1, 0.9), np.zeros(needed - 1), max_wrong) is None


def test_each_test_allows_one_wrong_row_more():
    allowed = count_allowed_wrong(1000, MAX_WRONG)
    counts = list(list_tested_counts(np.linspace(1.0, 0.5, 1000), allowed))
    assert counts[-1] == 1000
    assert np.all(np.diff(allowed[counts[:-1]]) == 1)
    for count in counts:
        assert bound_wrong_share(allowed[count], count) <= MAX_WRONG
        assert bound_wrong_share(allowed[count] + 1, count) > MAX_WRONG


def test_rows_that_are_all_right_are_all_ok():
    confidences = np.linspace(0.6, 0.99, 500)
    fitted = fit(confidences, np.zeros(500))
    assert (fitted.threshold, fitted.ok, fitted.wrong) == (0.6, 500, 0)
    assert fitted.max_wrong < 0.006


def test_the_threshold_leaves_out_where_the_mistakes_are():
    confidences = np.linspace(0.5, 1.0, 1001)
    is_wrong = (confidences < 0.7) & (np.arange(1001) % 4 == 0)
    fitted = fit(confidences, is_wrong)
    assert 0.65 < fitted.threshold < 0.8
    assert fitted.wrong == is_wrong[confidences >= fitted.threshold].sum()
    assert fitted.max_wrong <= MAX_WRONG


def test_one_wrong_label_among_many_sure_rows_does_not_end_the_search():
    is_wrong = np.zeros(4000)
    is_wrong[0] = 1
    assert fit(np.linspace(1.0, 0.5, 4000), is_wrong).ok == 4000


def test_rows_of_equal_confidence_are_ok_together_or_not_at_all():
    # The wrong ones are the last of those that are alike.
    confidences = np.full(1000, 0.99996)
    is_wrong = np.arange(1000) >= 900
    assert fit(confidences, is_wrong) is None
    allowed = count_allowed_wrong(600, MAX_WRONG)
    assert list(list_tested_counts(np.array([0.9] * 300 + [0.8] * 300), allowed)) == [300, 600]


@given(
    arrays(np.float64, st.shared(st.integers(0, 400), key="n"), elements=st.floats(0, 1)),
    arrays(np.bool_, st.shared(st.integers(0, 400), key="n")),
    st.floats(0.01, 0.9),
)
def test_what_is_promised_of_the_rows_from_the_threshold_on_is_true_of_them(confidences, is_wrong, max_wrong):
    fitted = fit(confidences, is_wrong, max_wrong)
    if fitted is None:
        return
    is_ok = confidences >= fitted.threshold - 1e-12
    assert fitted.ok == is_ok.sum() >= count_needed_rows(max_wrong)
    assert fitted.wrong == is_wrong[is_ok].sum()
    assert fitted.wrong / fitted.ok <= fitted.max_wrong <= max_wrong
    assert fitted.threshold == round(fitted.threshold, 4)


@pytest.mark.parametrize("slope", [0.0, 0.02, 0.2])
def test_a_promise_that_is_not_true_is_made_in_one_of_twenty_cases_at_most(slope):
    # As hard as can be: already of the surest rows a little too many are wrong.
    random = np.random.default_rng(0)
    repetitions, total = 1000, 2000
    doubts = np.sort(random.random((repetitions, total)))
    is_wrong = random.random((repetitions, total)) < 1.02 * MAX_WRONG + slope * doubts**4
    false_promises = sum(
        fit(1.0 - each, wrong) is not None for each, wrong in zip(doubts, is_wrong, strict=True)
    )
    assert false_promises <= 0.05 * repetitions + 2 * (repetitions * 0.05 * 0.95) ** 0.5


def test_the_examples_in_the_docstrings_work():
    assert doctest.testmod(certain_threshold).failed == 0
