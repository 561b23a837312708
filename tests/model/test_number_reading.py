"""What is read of the probabilities of a line, and what a row says of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from digitscan.model.ctc import BLANK, MINUS, POINT, SYMBOL_COUNT
from digitscan.model.metadata import ModelMetadata
from digitscan.model.number_reading import (
    NumberReading,
    apply_temperature,
    decide_number,
    prepare_view,
    read_number,
)
from digitscan.model.number_rules import NumberRules
from digitscan.prediction import Status

NO_RULES = NumberRules()


def read(views: list[NDArray[np.float32]], rules: NumberRules, temperature: float = 1.0) -> NumberReading:
    """What is read of the probabilities of a line in some views."""
    return read_number([prepare_view(view, temperature) for view in views], rules)


def make_line(*steps: int | dict[int, float]) -> NDArray[np.float32]:
    """Return the probabilities of a line: for each step its only symbol, or the symbols that may be there.

    Between two steps there is a blank.
    """
    shares = [{step: 1.0} if isinstance(step, int) else step for step in steps]
    rows = [
        [symbols.get(symbol, 0.0) for symbol in range(SYMBOL_COUNT)]
        for share in shares
        for symbols in (share, {BLANK: 1.0})
    ]
    return np.array(rows, np.float32).reshape(-1, SYMBOL_COUNT)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_certain_steps_are_read_as_they_are_with_leading_zeros(digits: list[int]) -> None:
    reading = read([make_line(*digits)], NO_RULES)
    number = "".join(map(str, digits))
    assert reading == NumberReading(number, 1.0, (1.0,) * len(digits), likely=((number, 1.0),))


def test_the_confidence_is_that_of_the_whole_number_and_each_digit_has_its_own() -> None:
    line = make_line({4: 0.9, 9: 0.1}, 0, {7: 0.8, 1: 0.2})
    reading = read([line], NO_RULES)
    assert reading.number == "407"
    assert reading.confidence == pytest.approx(0.72)
    assert reading.digit_confidences == pytest.approx((0.9, 1.0, 0.8))


def test_a_temperature_makes_the_model_less_sure_and_changes_no_sum() -> None:
    line = make_line({4: 0.9, 9: 0.1})
    assert read([line], NO_RULES, 2.0).confidence == pytest.approx(0.75)
    assert np.allclose(apply_temperature(line, 2.0).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("last", "alternative"),
    [
        ({7: 0.75, 1: 0.25}, "401"),
        ({7: 0.9, 1: 0.1}, None),
        ({7: 0.2, 1: 0.12, **dict.fromkeys((2, 3, 4, 5, 6, 8, 9, 0), 0.085)}, "401"),
    ],
)
def test_a_second_reading_is_named_where_it_is_not_much_less_probable(
    last: dict[int, float], alternative: str | None
) -> None:
    reading = read([make_line(4, 0, last)], NO_RULES)
    assert (reading.number, reading.alternative) == ("407", alternative)


@pytest.mark.parametrize(
    ("symbols", "number", "notes", "needs_review"),
    [
        ((4, POINT, 5, 0), "450", ("with a point",), False),
        ((4, POINT, 4), "44", ("with a point",), False),
        ((4, 0, POINT, MINUS), "40", ("with a point", "with a minus"), False),
        ((MINUS, 4, 0), "40", ("with a minus",), True),
        ((POINT, 4, MINUS, 0), "40", ("with a point", "with a minus"), False),
        ((MINUS, POINT), "", (), False),
        ((), "", (), False),
    ],
)
def test_points_and_dashes_are_in_the_notes_and_a_minus_sign_is_for_a_person(
    symbols: tuple[int, ...], number: str, notes: tuple[str, ...], needs_review: bool
) -> None:
    reading = read([make_line(*symbols)], NO_RULES)
    assert (reading.number, reading.notes, reading.needs_review) == (number, notes, needs_review)
    assert reading.confidence == 1.0


def test_a_known_length_decides_between_readings() -> None:
    line = make_line({4: 0.6, BLANK: 0.4}, 0, {7: 0.5, 1: 0.5})
    assert read([line], NO_RULES).number in {"407", "401"}
    reading = read([line], NumberRules.parse("2", None))
    assert reading.number in {"07", "01"}
    assert reading.confidence == pytest.approx(0.5)
    assert not reading.needs_review
    assert len(reading.alternative or "") == 3


def test_the_confidence_is_given_that_the_length_is_allowed() -> None:
    line = make_line(4, {0: 0.7, BLANK: 0.3}, 7)
    assert read([line], NO_RULES).confidence == pytest.approx(0.7)
    assert read([line], NumberRules.parse("3", None)).confidence == pytest.approx(1.0)


def test_an_empty_field_is_empty_whatever_length_is_known() -> None:
    rules = NumberRules.parse("1", None)
    assert read([make_line({4: 0.3, BLANK: 0.7})], rules).number == ""
    assert read([make_line({4: 0.7, BLANK: 0.3})], rules).confidence == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (make_line(4, 0, 7), "407"),
        (make_line({4: 0.02, BLANK: 0.98}, 4, 0, 0, 7), "44007"),
        (make_line({4: 0.04, BLANK: 0.96}, 4, 0, 7, {1: 0.3, BLANK: 0.7}), "44071"),
    ],
)
def test_a_picture_that_contradicts_the_known_length_is_for_a_person(
    line: NDArray[np.float32], number: str
) -> None:
    reading = read([line], NumberRules.parse("5", None))
    assert (reading.number, reading.notes) == (number, ("5 digits expected",))
    assert reading.needs_review


def test_the_check_digit_decides_between_readings_of_which_one_passes() -> None:
    line = make_line(7, 9, {9: 0.4, 4: 0.6}, 2, 7, 3, 9, 8, 7, 1, 3)
    reading = read([line], NumberRules.parse("11", "luhn"))
    assert (reading.number, reading.alternative) == ("79927398713", "79427398713")
    assert reading.confidence == pytest.approx(1.0)
    assert not reading.needs_review


def test_a_number_that_fails_the_check_digit_is_for_a_person() -> None:
    reading = read([make_line(1, 2, 3)], NumberRules.parse(None, "luhn"))
    assert reading == NumberReading(
        "123",
        1.0,
        (1.0,) * 3,
        notes=("fails the check digit",),
        needs_review=True,
        likely=(("123", 1.0),),
    )


@st.composite
def lines(draw: st.DrawFn) -> NDArray[np.float32]:
    shape = draw(st.integers(0, 12)), SYMBOL_COUNT
    values = draw(arrays(np.float32, shape, elements=st.sampled_from([0.0, 1e-20, 0.1, 1.0, 9.0])))
    values[:, BLANK] += values.sum(axis=1) == 0.0
    return values / values.sum(axis=1, keepdims=True)


@given(
    lines(),
    st.sampled_from([None, "1", "2-3", "1,4-6"]),
    st.sampled_from([None, "luhn"]),
    st.sampled_from([0.01, 0.7, 1.0, 3.0]),
)
def test_whatever_the_network_gives_a_reading_is_sound_and_ok_only_within_the_rules(
    line: NDArray[np.float32], length: str | None, check: str | None, temperature: float
) -> None:
    rules = NumberRules.parse(length, check)
    reading = read([line], rules, temperature)
    assert 0.0 <= reading.confidence <= 1.0
    assert len(reading.digit_confidences) == len(reading.number)
    assert all(0.0 < confidence <= 1.0 + 1e-9 for confidence in reading.digit_confidences)
    assert reading.alternative != reading.number
    assert not reading.number or reading.needs_review or not rules.find_objection(reading.number)


def test_a_line_of_which_the_network_gives_no_number_is_an_error(metadata: ModelMetadata) -> None:
    for value in (np.nan, 0.0):
        reading = read([np.full((3, SYMBOL_COUNT), value, np.float32)], NO_RULES)
        decision = decide_number(reading, metadata)
        assert decision == (None, None, Status.ERROR, "the model gave no number")


def test_the_likely_readings_are_listed_with_their_probabilities() -> None:
    line = make_line({4: 0.9, 9: 0.1}, 0, {7: 0.8, BLANK: 0.2})
    readings = read([line], NO_RULES).likely
    assert [number for number, _ in readings] == ["407", "40", "907", "90"]
    assert [probability for _, probability in readings] == pytest.approx([0.72, 0.18, 0.08, 0.02])
    known = read([line], NumberRules.parse("2", None)).likely
    assert [number for number, _ in known] == ["40", "90"]
    assert [probability for _, probability in known] == pytest.approx([0.9, 0.1])
    assert read([line], NumberRules.parse("5", None)).likely[0][0] == "407"


def test_that_there_are_no_digits_is_a_reading_too_whatever_is_known() -> None:
    line = make_line({4: 0.6, BLANK: 0.4}, {1: 0.6, BLANK: 0.4})
    assert read([line], NO_RULES).likely[-1] == ("", pytest.approx(0.16))
    known = dict(read([line], NumberRules.parse("2", None)).likely)
    assert known == pytest.approx({"41": 0.36 / 0.52, "": 0.16 / 0.52})
    assert read([make_line(BLANK)], NO_RULES).likely == (("", 1.0),)
    assert read([np.full((3, SYMBOL_COUNT), np.nan, np.float32)], NO_RULES).likely == ()


def test_a_number_is_named_for_review_where_many_are_about_as_probable_as_none() -> None:
    reading = read([make_line({4: 0.26, 9: 0.24, 7: 0.22, BLANK: 0.28})], NO_RULES)
    assert (reading.number, reading.needs_review, reading.alternative) == ("4", True, "9")
    assert read([make_line({4: 0.25, 9: 0.2, BLANK: 0.55})], NO_RULES).number == ""


@given(
    arrays(np.float32, (6, SYMBOL_COUNT), elements=st.floats(0.0078125, 1.0, width=32)),
    st.sampled_from([NO_RULES, NumberRules.parse("1-3", None), NumberRules.parse(None, "luhn")]),
    st.sampled_from([1.0, 2.0]),
)
def test_the_best_reading_is_the_one_of_the_row_and_all_are_shares(
    line: NDArray[np.float32], rules: NumberRules, digit_weight: float
) -> None:
    row = read_number([prepare_view(line), prepare_view(line[::-1])], rules, digit_weight)
    probabilities = [probability for _, probability in row.likely]
    assert probabilities == sorted(probabilities, reverse=True)
    if row.number:
        assert (row.number, row.confidence) == next(reading for reading in row.likely if reading[0])
    if rules.allow_all:
        assert sum(probabilities) <= 1 + 1e-9


SURE, DOUBTFUL = NumberReading("407", 0.9), NumberReading("407", 0.7)
CLOSE = NumberReading("407", 0.5, alternative="401")


@pytest.mark.parametrize(
    ("reading", "options", "expected"),
    [
        (SURE, {}, ("407", 0.9, Status.OK, "")),
        (SURE._replace(confidence=0.8), {}, ("407", 0.8, Status.OK, "")),
        (SURE, {"min_confidence": 0.95}, ("407", 0.9, Status.REVIEW, "doubtful")),
        (SURE, {"needs_review": True}, ("407", 0.9, Status.REVIEW, "")),
        (SURE._replace(needs_review=True), {}, ("407", 0.9, Status.REVIEW, "")),
        (DOUBTFUL, {}, ("407", 0.7, Status.REVIEW, "doubtful")),
        (DOUBTFUL, {"min_confidence": 0.6}, ("407", 0.7, Status.OK, "")),
        (CLOSE, {}, ("407", 0.5, Status.REVIEW, "407 or 401")),
        (CLOSE, {"min_confidence": 0.4}, ("407", 0.5, Status.OK, "")),
        (NumberReading("", 0.9), {"min_confidence": 0.0}, (None, None, Status.NO_DIGIT, "no digits")),
    ],
)
def test_a_reading_becomes_a_number_and_a_status(
    metadata: ModelMetadata, reading: NumberReading, options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert metadata.ok_confidence == 0.8
    assert decide_number(reading, metadata, **options) == expected


def test_numbers_of_a_model_without_calibration_are_ok_only_above_a_limit_that_the_user_gives(
    metadata: ModelMetadata,
) -> None:
    uncalibrated = dataclasses.replace(metadata, ok_confidence=None)
    decision = decide_number(SURE, uncalibrated)
    assert decision == ("407", 0.9, Status.REVIEW, "model not calibrated")
    assert decide_number(SURE, uncalibrated, 0.9).status is Status.OK


def test_the_probability_of_a_number_is_its_mean_over_the_views():
    views = [make_line(4, 0, {7: 0.9, 1: 0.1}), make_line(4, 0, {7: 0.3, 1: 0.7})]
    assert read(views[1:], NO_RULES).number == "401"
    reading = read(views, NO_RULES)
    assert reading.number == "407"
    assert reading.confidence == pytest.approx(0.6, abs=0.01)
    assert reading.alternative == "401"


def test_a_weight_for_each_digit_favours_longer_numbers_and_keeps_probabilities():
    view = prepare_view(make_line(4, {1: 0.4, BLANK: 0.6}))
    assert read_number([view], NO_RULES).number == "4"
    weighted = read_number([view], NO_RULES, 2.0)
    assert weighted.number == "41"
    # 0.4 * 2 * 2 against 0.6 * 2.
    assert weighted.likely == (("41", pytest.approx(1.6 / 2.8)), ("4", pytest.approx(1.2 / 2.8)))
    assert read_number([view], NumberRules.parse("1", None), 2.0).number == "4"


def test_the_weight_of_digits_changes_nothing_between_numbers_of_one_length():
    view = prepare_view(make_line(4, 0, {7: 0.3, 1: 0.1, BLANK: 0.6}))
    for digit_weight in (1.0, 2.0):
        reading = read_number([view], NumberRules.parse("3", None), digit_weight)
        assert reading.number == "407"
        assert reading.confidence == pytest.approx(0.75)


def test_a_number_that_only_one_view_shows_counts_with_its_share():
    reading = read([make_line(4, 0), make_line(4, 0, 7)], NumberRules.parse("3", None))
    assert reading.number == "407"


def test_a_reading_that_the_rules_turn_round_against_the_picture_is_for_review():
    line = make_line(4, 0, 7, {1: 0.94, BLANK: 0.06})
    reading = read([line], NumberRules.parse("3", None))
    assert reading.number == "407"
    assert reading.needs_review
    assert reading.alternative == "4071"
    near = make_line(4, 0, 7, {1: 0.6, BLANK: 0.4})
    assert not read([near], NumberRules.parse("3", None)).needs_review
