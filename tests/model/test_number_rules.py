"""What a user says of the numbers beforehand, and which numbers that allows."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.errors import ExitCode, UsageError
from digitscan.model.number_rules import MAX_LENGTH, Check, NumberRules


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("5", ((5, 5),)),
        ("1-3", ((1, 3),)),
        ("2,4-6", ((2, 2), (4, 6))),
        (" 2 , 4 - 6 ", ((2, 2), (4, 6))),
        ("64", ((64, 64),)),
        (None, ()),
    ],
)
def test_lengths_are_counts_and_ranges_with_commas_between(
    text: str | None, lengths: tuple[tuple[int, int], ...]
) -> None:
    assert NumberRules.parse(text, None) == NumberRules(lengths)


@pytest.mark.parametrize("text", ["0", "0-3", "5-3", "65", "1-65", "999999999", "3,0"])
def test_a_length_that_cannot_be_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=f"the length {text!r} cannot be: numbers have 1 to 64") as caught:
        NumberRules.parse(text, None)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "text", ["", "five", "-3", "3-", "1-2-3", "2,", "1.5", "\N{ARABIC-INDIC DIGIT FIVE}", "9" * 5000]
)
def test_a_length_that_is_no_count_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="a length is a count of digits such as 5, 1-3 or 2,4-6, not "):
        NumberRules.parse(text, None)


def test_an_unknown_check_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="the check must be one of luhn, not 'iban'"):
        NumberRules.parse(None, "iban")


@given(st.text("0123456789-, ", max_size=12))
def test_any_text_of_digits_dashes_and_commas_gives_rules_or_a_usage_error(length: str) -> None:
    with contextlib.suppress(UsageError):
        assert not NumberRules.parse(length, None).allow_all


def test_without_rules_every_number_is_allowed() -> None:
    rules = NumberRules()
    assert rules.allow_all and rules.max_length is None
    assert rules.find_objection("12345678901234567890") == ""


@given(st.lists(st.tuples(st.integers(1, MAX_LENGTH), st.integers(1, MAX_LENGTH)).map(sorted), min_size=1))
def test_a_length_is_allowed_if_any_range_holds_it(ranges: list[list[int]]) -> None:
    rules = NumberRules.parse(",".join(f"{low}-{high}" for low, high in ranges), None)
    allowed = {count for low, high in ranges for count in range(low, high + 1)}
    assert {count for count in range(MAX_LENGTH + 2) if rules.allows_length(count)} == allowed
    assert rules.max_length == max(allowed)


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("1", "1 digit expected"),
        ("5", "5 digits expected"),
        ("1-3", "1 to 3 digits expected"),
        ("2,4-6", "2 or 4 to 6 digits expected"),
    ],
)
def test_a_number_of_another_length_is_told_what_is_expected(text: str, objection: str) -> None:
    assert NumberRules.parse(text, None).find_objection("12345678") == objection


@pytest.mark.parametrize("number", ["79927398713", "4539578763621486", "0", "18"])
def test_numbers_that_end_in_their_check_digit_pass_and_all_others_fail(number: str) -> None:
    rules = NumberRules.parse(None, "luhn")
    assert rules.passes_check(number)
    for last in set("0123456789") - {number[-1]}:
        assert rules.find_objection(number[:-1] + last) == "fails the check digit"


def test_options_are_rules_only_beside_numbers() -> None:
    assert NumberRules.from_options(False, None, None) == NumberRules()
    assert NumberRules.from_options(True, 5, "luhn") == NumberRules(((5, 5),), Check.LUHN)
    assert NumberRules.from_options(True, " 1 - 3", None) == NumberRules(((1, 3),))
    for length, check, name in (("5", None, "--length"), (None, "luhn", "--check")):
        with pytest.raises(UsageError, match=f"{name} is for whole numbers: add --numbers"):
            NumberRules.from_options(False, length, check)
    for value in (True, 2.5, [3]):
        with pytest.raises(UsageError, match="length must be such as 5"):
            NumberRules.from_options(True, value, None)  # type: ignore[arg-type]  # what Python callers may give


@pytest.mark.parametrize("rules", [NumberRules(), NumberRules(((2, 2), (4, 6)), Check.LUHN)])
def test_rules_are_read_back_as_they_were_stored(rules: NumberRules) -> None:
    assert NumberRules.from_stored(json.loads(json.dumps(rules.to_stored()))) == rules
