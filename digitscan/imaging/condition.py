"""The condition of an image: how plainly it shows its digit."""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """How plainly an image shows its digit; a model may have a limit for `ok` for each condition."""

    CLEAN = "clean"
    """Nothing but the digit was found."""
    FIELD = "field"
    """Printed lines, a box or neighbours were found beside the digit, and left out."""
    UNCLEAR = "unclear"
    """The ink is faint, or what was left out may be a part of the digit."""
