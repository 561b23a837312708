"""What is known of the numbers beforehand: how many digits they have, and a check digit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from digitscan.errors import UsageError

MAX_LENGTH = 64
"""The most digits that a length may name."""


class Check(StrEnum):
    """How the last digit of a number follows from the others."""

    LUHN = "luhn"
    """The sum of the digits, every second one doubled, is a multiple of 10 (ISO/IEC 7812-1)."""


@dataclass(frozen=True)
class NumberRules:
    """What is known of all numbers of a scan; by default nothing."""

    lengths: tuple[tuple[int, int], ...] = ()
    """The ranges of how many digits there may be, both ends included; empty: any."""
    check: Check | None = None
    """The check that each number passes; None: any number will do."""

    @classmethod
    def parse(cls, length: str | None, check: str | None) -> NumberRules:
        """Return the rules that a user wrote, such as "5", "1-3" or "2,4-6", and "luhn".

        Raises UsageError for any other text.

        >>> NumberRules.parse("2,4-6", None).lengths
        ((2, 2), (4, 6))
        """
        lengths = () if length is None else tuple(_parse_range(part, length) for part in length.split(","))
        return cls(lengths, None if check is None else _parse_check(check))

    @classmethod
    def from_options(cls, numbers: bool, length: str | int | None, check: str | None) -> NumberRules:
        """Return the rules that a command was given beside `--numbers`; None is an option that was not given.

        Raises UsageError for rules without `numbers`, for a length of another type, and as `parse` does.
        """
        for name, value in (("length", length), ("check", check)):
            if value is not None and not numbers:
                raise UsageError(f"--{name} is for whole numbers: add --numbers")
        if isinstance(length, bool) or not isinstance(length, str | int | None):
            raise UsageError(f"length must be such as 5, '1-3' or '2,4-6', not {length!r}")
        return cls.parse(None if length is None else str(length), check)

    @property
    def length_text(self) -> str | None:
        """The lengths as `parse` takes them, written in one way; None: any."""
        ranges = (str(low) if low == high else f"{low}-{high}" for low, high in self.lengths)
        return ",".join(ranges) or None

    @property
    def allow_all(self) -> bool:
        """Whether nothing is known, and every number is allowed."""
        return not self.lengths and self.check is None

    @property
    def max_length(self) -> int | None:
        """The most digits that are allowed; None: any number of digits."""
        return max((most for _, most in self.lengths), default=None)

    def allows_length(self, digit_count: int) -> bool:
        """Return whether a number may have so many digits."""
        return not self.lengths or any(fewest <= digit_count <= most for fewest, most in self.lengths)

    def passes_check(self, number: str) -> bool:
        """Return whether the last digit of a number is the one that follows from the others."""
        return self.check is None or _compute_luhn_sum(number) % 10 == 0

    def find_objection(self, number: str) -> str:
        """Return why a number is not allowed, as a note; empty if it is."""
        if not self.allows_length(len(number)):
            return f"{self._describe_lengths()} expected"
        return "" if self.passes_check(number) else "fails the check digit"

    def _describe_lengths(self) -> str:
        ranges = [str(low) if low == high else f"{low} to {high}" for low, high in self.lengths]
        return f"{' or '.join(ranges)} digit{'' if self.lengths == ((1, 1),) else 's'}"

    def to_stored(self) -> dict[str, Any]:
        """Return the values as JSON holds them."""
        return {"lengths": [list(each) for each in self.lengths], "check": self.check and self.check.value}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> NumberRules:
        """Return the rules of what `to_stored` returned."""
        lengths = tuple((low, high) for low, high in stored["lengths"])
        return cls(lengths, None if stored["check"] is None else Check(stored["check"]))


def _parse_range(part: str, length: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)
    if match is None:
        raise UsageError(f"a length is a count of digits such as 5, 1-3 or 2,4-6, not {length[:40]!r}")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1 <= low <= high <= MAX_LENGTH:
        raise UsageError(
            f"the length {length[:40]!r} cannot be: numbers have 1 to {MAX_LENGTH} digits, and a range such "
            "as 1-3 begins with the smaller count"
        )
    return low, high


def _parse_check(check: str) -> Check:
    try:
        return Check(check)
    except ValueError:
        raise UsageError(f"the check must be one of {', '.join(Check)}, not {check!r}") from None


def _compute_luhn_sum(number: str) -> int:
    """Return the sum of the digits, every second one from the right doubled and cast out to one digit."""
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
