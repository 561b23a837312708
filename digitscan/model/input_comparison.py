"""Which input range a model that says nothing of its own was made for: it is tried on digits with labels.

Whoever names a model for 0..255 or for dark ink without `--input-range` gets an answer for every picture, and
most of them are wrong. So such a model reads the bundled digits once in each range, when it is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.errors import ModelError
from digitscan.model.input_range import InputRange

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_GAIN = 0.05
"""By how much the share of digits that are read right must be larger in a range that is recommended.

In 500 digits that come near to all or none, chance alone is less than this, and so is what matters.
"""
MIN_RECOMMENDED_SHARE = 0.5
"""A model that reads fewer right in every range is no reader of these digits, and no range would help."""
MIN_RIGHT_SHARE = 0.8
"""A model that reads fewer of the bundled digits right is warned of. Plain networks read 95 % and more."""
_NORMAL_QUANTILE = 1.96
"""Of intervals of 95 %."""


class InputComparison(NamedTuple):
    """How many of the bundled digits a model reads right, by the range in which it gets them."""

    right: Mapping[InputRange, int]
    total: int
    """The number of digits."""

    def share_right(self, input_range: InputRange) -> float:
        """Return the share of the digits, 0 to 1, that are read right in a range."""
        return self.right[input_range] / self.total

    def find_better(self, input_range: InputRange) -> InputRange | None:
        """Return the range in which far more is read right than in the given one, None if there is none.

        It must reach MIN_RECOMMENDED_SHARE and gain MIN_GAIN, and the intervals in which the two shares lie
        with 95 % confidence must be apart: two ranges may be equally good for a model, and then no one should
        be sent from one to the other. That is stricter than a paired test of the same digits.
        """
        best = max(self.right, key=self.right.__getitem__)
        gain = self.share_right(best) - self.share_right(input_range)
        low, _ = compute_interval(self.right[best], self.total)
        _, high = compute_interval(self.right[input_range], self.total)
        is_useful = self.share_right(best) >= MIN_RECOMMENDED_SHARE
        return best if is_useful and gain >= MIN_GAIN and low > high else None

    def is_poor(self, input_range: InputRange) -> bool:
        """Tell whether a model is to be warned of that is used with a range."""
        return self.share_right(input_range) < MIN_RIGHT_SHARE

    def describe(self, input_range: InputRange) -> str:
        """Return how much is read right in a range, and in which more would be."""
        text = f"{_format_share(self.share_right(input_range))} of known digits right"
        better = self.find_better(input_range)
        if better is not None:
            return f"{text}; {_format_share(self.share_right(better))} with --input-range {better}"
        highest = max(map(self.share_right, self.right))
        return f"{text}; with no --input-range more than {_format_share(highest)}"

    def to_stored(self) -> dict[str, Any]:
        """Return the values as JSON holds them."""
        return {"right": {each.value: count for each, count in self.right.items()}, "total": self.total}

    @classmethod
    def from_stored(cls, stored: Any) -> InputComparison:
        """Return the comparison of what `to_stored` returned. Raises ModelError for anything else."""
        try:
            right = {each: stored["right"][each.value] for each in InputRange}
            total = stored["total"]
            is_valid = all(type(count) is int and 0 <= count <= total for count in right.values())
        except (TypeError, KeyError, AttributeError):
            is_valid = False
        if not is_valid or total < 1:
            raise ModelError("the comparison of its input ranges cannot be read")
        return cls(right, total)


def compare_input_ranges(
    keras_model: Any, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> InputComparison:
    """Return how many of some digits a Keras model reads right in each input range.

    `images` are (N, 28, 28) uint8, light ink on black; `labels` (N,) are 0 to 9. It is Keras that reads: a
    compiled model is made for one range.
    """
    import numpy as np

    from digitscan.model.keras_comparison import run_keras

    right = {}
    for input_range in InputRange:
        outputs = run_keras(keras_model, images, input_range)
        is_right = (outputs.argmax(axis=1) == labels) & ~np.isnan(outputs).any(axis=1)
        right[input_range] = int(is_right.sum())
    return InputComparison(right, len(labels))


def compute_interval(count: int, total: int) -> tuple[float, float]:
    """Return the interval in which a share lies with 95 % confidence (Wilson 1927), of at least one.

    It is computed here, as scans load neither NumPy nor SciPy before their workers start.

    >>> [round(limit, 3) for limit in compute_interval(450, 500)]
    [0.871, 0.923]
    """
    share, square = count / total, _NORMAL_QUANTILE**2
    center = share + square / (2 * total)
    half_width = _NORMAL_QUANTILE * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return (center - half_width) / (1 + square / total), (center + half_width) / (1 + square / total)


def _format_share(share: float) -> str:
    """Return a share in percent, rounded down: 100 % are all of them."""
    return f"{math.floor(100 * share + 1e-9)} %"
