"""Settings out of their range are refused where they are made."""

import dataclasses
import json
import math

import numpy as np
import pytest

from digitscan.errors import UsageError
from digitscan.model.number_rules import Check, NumberRules
from digitscan.scanning.config import ScanConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_confidence": 1.5}, "min_confidence must be a number from 0 to 1, not 1.5"),
        ({"min_confidence": math.nan}, "min_confidence must be a number from 0 to 1, not nan"),
        ({"timeout": 0}, "timeout must be a number of at least 0.1, not 0"),
        ({"timeout": math.inf}, "timeout must be a number of at least 0.1, not inf"),
        ({"timeout": "5"}, "timeout must be a number of at least 0.1, not '5'"),
        ({"timeout": True}, "timeout must be a number of at least 0.1, not True"),
        ({"max_megapixels": -1.0}, "max_megapixels must be a number of at least 0.001, not -1.0"),
        ({"workers": 0}, "workers must be a whole number of at least 1, not 0"),
        ({"workers": 2.5}, "workers must be a whole number of at least 1, not 2.5"),
        ({"chunk_size": 5000}, "chunk_size must be a whole number from 1 to 4096, not 5000"),
        ({"input_range": "0..2"}, "input_range must be one of 0..1, 0..255, 1..0, 255..0, not '0..2'"),
        ({"exclude": ["a", "/"]}, "'/' is an empty pattern: name files as in '*.jpg' or 'drafts/'"),
        ({"length": 3}, "--length is for whole numbers: add --numbers"),
        ({"check": "luhn"}, "--check is for whole numbers: add --numbers"),
        ({"digit_confidence": True}, "--digit-confidence is for whole numbers: add --numbers"),
        (
            {"numbers": True, "probabilities": True},
            "--probabilities are those of single digits: for --numbers there is --digit-confidence",
        ),
        (
            {"numbers": True, "length": "a"},
            "a length is a count of digits such as 5, 1-3 or 2,4-6, not 'a'",
        ),
        ({"numbers": True, "length": True}, "length must be such as 5, '1-3' or '2,4-6', not True"),
        ({"numbers": True, "length": 2.0}, "length must be such as 5, '1-3' or '2,4-6', not 2.0"),
        ({"numbers": True, "check": "sum"}, "the check must be one of luhn, not 'sum'"),
        ({"include": 3}, "include must be patterns such as '*.jpg', not 3"),
        ({"include": [3]}, "include must be patterns such as '*.jpg', not [3]"),
    ],
)
def test_a_value_out_of_its_range_is_a_usage_error(settings, message):
    with pytest.raises(UsageError) as caught:
        ScanConfig(**settings)
    assert str(caught.value) == message


def test_numbers_of_numpy_become_those_of_python():
    config = ScanConfig(min_confidence=np.float32(0.5), workers=np.int64(2), probabilities=np.True_)
    assert json.loads(json.dumps(dataclasses.asdict(config)))["min_confidence"] == 0.5
    assert (config.workers, config.probabilities) == (2, True)


def test_one_pattern_may_be_given_as_it_is():
    config = ScanConfig(include="*.png", exclude=["a*", "b*"])
    assert (config.include, config.exclude) == (("*.png",), ("a*", "b*"))


@pytest.mark.parametrize("length", [0, "0", "5-3", 65, "65", "1-", "", "1,,2", "-3", -3])
def test_a_length_that_no_number_can_have_is_a_usage_error(length):
    with pytest.raises(UsageError, match="length"):
        ScanConfig(numbers=True, length=length)


def test_a_length_may_be_a_number_and_is_kept_without_blanks():
    assert ScanConfig(numbers=True, length=5).length == "5"
    config = ScanConfig(numbers=True, length=" 2, 4 - 6 ", check="luhn")
    assert config.length == "2,4-6"
    assert config.number_rules == NumberRules(((2, 2), (4, 6)), Check.LUHN)
    assert ScanConfig(numbers=True).number_rules == NumberRules()
