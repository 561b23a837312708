"""The settings of an evaluation and their defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from digitscan.errors import UsageError
from digitscan.model.input_range import InputRange
from digitscan.model.number_rules import NumberRules

MNIST = "mnist"
"""The source that stands for MNIST's test images."""


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated, and where the results go. Raises UsageError for values that do not fit together.

    >>> EvaluateConfig("mnist").max_wrong
    0.003
    """

    source: str | Path
    """A folder with a subfolder of images for each digit or number, a CSV with the column `corrected`, or
    "mnist"."""
    truth: Path | None = None
    """A CSV with the columns `path` and `label`: then `source` is the folder that its paths are in."""
    model: str | Path | None = None
    """As in `ScanConfig`: a bundled model's name or a `.h5` file."""
    numbers: bool = False
    """As in `ScanConfig`: whether each image shows a whole number, and the labels are such."""
    length: str | int | None = None
    """As in `ScanConfig`: how many digits the numbers have."""
    check: str | None = None
    """As in `ScanConfig`: the check digit with which they end."""
    model_sha256: str | None = None
    """As in `ScanConfig`."""
    input_range: InputRange | None = None
    """As in `ScanConfig`."""
    min_confidence: float | None = None
    """The confidence, 0 to 1, from which a row is `ok`; None is the model's own threshold."""
    against: str | Path | None = None
    """Another model that reads the same images; None compares with none."""
    max_wrong: float = 0.003
    """The share of wrong digits among the `ok` rows, 0 to 1, for which a threshold is looked for."""
    output: Path | None = None
    """The folder for the scores and figures; None writes none."""
    overwrite: bool = False
    """Whether files in that folder may be replaced."""
    json: bool = False
    """Whether the scores are printed as JSON instead of tables."""

    @property
    def number_rules(self) -> NumberRules:
        """What is known of the numbers beforehand."""
        return NumberRules.from_options(self.numbers, self.length, self.check)

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        if not str(self.source):
            raise UsageError("an empty path was given: name a folder by label, a corrected CSV, or mnist")
        if not (0.0 <= self.max_wrong <= 1.0 and math.isfinite(self.max_wrong)):
            raise UsageError(f"max_wrong must be a number from 0 to 1, not {self.max_wrong!r}")
        _ = self.number_rules  # raises UsageError where there is no such length or check
