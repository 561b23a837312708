"""Labellings and their probabilities, held against the sum over all paths."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from digitscan.model.ctc import (
    BLANK,
    MINUS,
    POINT,
    SYMBOL_COUNT,
    Candidate,
    compute_length_probabilities,
    compute_probabilities,
    find_best_path,
    follow_labellings,
    merge_separators,
    rank_labellings,
)

Labelling = tuple[int, ...]


def search_labellings(views: list[NDArray[np.float64]], width: int) -> list[Candidate]:
    """The likely labellings of a line in all its views, as a number is read."""
    return rank_labellings(views, {each for view in views for each in follow_labellings(view, width)})


def to_labelling(path: tuple[int, ...], blank: int) -> Labelling:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def sum_over_paths(probabilities: NDArray[np.float64]) -> dict[Labelling, float]:
    """The probability of each labelling that any path has."""
    step_count, symbol_count = probabilities.shape
    totals: dict[Labelling, float] = defaultdict(float)
    for path in itertools.product(range(symbol_count), repeat=step_count):
        probability = np.prod([row[symbol] for row, symbol in zip(probabilities, path, strict=True)])
        totals[to_labelling(path, symbol_count - 1)] += float(probability)
    return totals


@st.composite
def distributions(draw: st.DrawFn, max_steps: int = 5) -> NDArray[np.float64]:
    """Probabilities of up to three symbols and the blank, many of them exactly 0."""
    shape = draw(st.integers(0, max_steps)), draw(st.integers(2, 4))
    values = draw(arrays(np.float64, shape, elements=st.sampled_from([0.0, 1e-9, 0.1, 1.0, 3.0])))
    values[:, -1] += values.sum(axis=1) == 0.0
    return values / values.sum(axis=1, keepdims=True)


@given(distributions())
def test_the_probability_of_a_labelling_is_the_sum_of_those_of_its_paths(
    probabilities: NDArray[np.float64],
) -> None:
    expected = sum_over_paths(probabilities)
    impossible = (0,) * (len(probabilities) + 1)
    actual = compute_probabilities(probabilities, [*expected, impossible])
    assert np.allclose(actual, [*expected.values(), 0.0], rtol=1e-12, atol=0.0)


@given(distributions())
def test_the_probability_of_a_length_is_that_of_all_its_labellings(
    probabilities: NDArray[np.float64],
) -> None:
    for max_length in (0, len(probabilities) + 1):
        expected = np.zeros(max_length + 1)
        for labelling, probability in sum_over_paths(probabilities).items():
            if len(labelling) <= max_length:
                expected[len(labelling)] += probability
        actual = compute_length_probabilities(probabilities, max_length)
        assert np.allclose(actual, expected, rtol=1e-9, atol=1e-14)


@given(distributions(max_steps=4))
def test_a_wide_search_finds_every_probable_labelling_with_its_probability_and_the_best_first(
    probabilities: NDArray[np.float64],
) -> None:
    expected = sum_over_paths(probabilities)
    found = search_labellings([probabilities], 1000)
    for labelling, probability in found:
        assert probability == pytest.approx(expected.pop(labelling))
    assert all(probability < 5e-3 for probability in expected.values())
    assert [candidate.probability for candidate in found] == sorted(
        (candidate.probability for candidate in found), reverse=True
    )


@given(distributions(max_steps=4), distributions(max_steps=4))
def test_the_probability_in_several_views_is_the_mean_over_them(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    symbol_count = min(first.shape[1], second.shape[1])
    views = [np.hstack((view[:, : symbol_count - 1], view[:, -1:])) for view in (first, second)]
    expected = [defaultdict(float, sum_over_paths(view)) for view in views]
    for labelling, probability in search_labellings(views, 1000):
        assert probability == pytest.approx(sum(of_view[labelling] for of_view in expected) / 2)


@given(distributions(), st.integers(1, 4))
def test_a_narrow_search_returns_no_more_than_its_width(
    probabilities: NDArray[np.float64], width: int
) -> None:
    assert 1 <= len(search_labellings([probabilities], width)) <= width


@given(distributions())
def test_the_best_path_is_that_of_the_most_probable_symbol_of_each_step(
    probabilities: NDArray[np.float64],
) -> None:
    path = tuple(probabilities.argmax(axis=1).tolist())
    assert find_best_path(probabilities) == to_labelling(path, probabilities.shape[1] - 1)


def test_the_most_probable_labelling_may_be_another_than_that_of_the_best_path() -> None:
    # Graves 2006: two steps, a symbol with probability 0.4 at each, and a blank with 0.6.
    probabilities = np.array([[0.4, 0.6]] * 2)
    assert find_best_path(probabilities) == ()
    assert [candidate.labelling for candidate in search_labellings([probabilities], 5)] == [(0,), ()]


def test_a_point_between_two_equal_digits_separates_them_and_is_no_part_of_the_number() -> None:
    probabilities = np.zeros((5, SYMBOL_COUNT), np.float32)
    for step, symbol in enumerate((4, POINT, 4, MINUS, BLANK)):
        probabilities[step, symbol] = 1.0
    merged = merge_separators(probabilities)
    assert merged.shape == (5, 11)
    assert np.allclose(merged.sum(axis=1), 1.0)
    assert search_labellings([merged], 5) == [((4, 4), 1.0)]


def test_a_long_line_of_which_nothing_is_known_is_searched_too() -> None:
    probabilities = np.full((300, 11), 1 / 11)
    probabilities[:, 10] += np.linspace(0.0, 0.2, 300)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = search_labellings([probabilities], 8)
    assert all(0.0 <= candidate.probability < 1e-6 for candidate in found)


def test_steps_without_any_probability_have_no_labelling() -> None:
    assert search_labellings([np.zeros((3, 11))], 8) == []
