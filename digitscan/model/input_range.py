"""The range of the input of a network: which values paper and ink have."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from digitscan.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class InputRange(StrEnum):
    """The values of a network's input, from no ink to full ink."""

    ONE = "0..1"
    BYTE = "0..255"
    INVERTED_ONE = "1..0"
    INVERTED_BYTE = "255..0"

    @property
    def maximum(self) -> float:
        """The largest value: that of full ink or, where the range is inverted, of no ink. The other is 0."""
        return 255.0 if self in {InputRange.BYTE, InputRange.INVERTED_BYTE} else 1.0

    @property
    def is_inverted(self) -> bool:
        """Whether ink is dark on light paper."""
        return self in {InputRange.INVERTED_ONE, InputRange.INVERTED_BYTE}

    @property
    def file_suffix(self) -> str:
        """What names of files that hold for one range have behind the model's digest: nothing for 0..1."""
        maximum = "" if self.maximum == 1.0 else f"-{self.maximum:g}"
        return f"{maximum}-inverted" if self.is_inverted else maximum

    def apply_polarity(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return images, uint8 with light ink on black, inverted if the range is."""
        return 255 - images if self.is_inverted else images

    @classmethod
    def with_properties(cls, maximum: object, is_inverted: object) -> InputRange | None:
        """Return the range with these properties, None if there is none."""
        properties = (maximum, is_inverted)
        return next((each for each in cls if (each.maximum, each.is_inverted) == properties), None)

    @classmethod
    def parse(cls, value: str) -> InputRange:
        """Return the range that is written so. Raises UsageError if there is none."""
        try:
            return cls(value)
        except ValueError:
            raise UsageError(f"input_range must be one of {', '.join(cls)}, not {value!r}") from None
