"""The settings of a scan and their defaults: the command line and the Python API both read them here."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from digitscan.errors import UsageError
from digitscan.imaging.formats import MAX_MEGAPIXELS, MAX_PAGES
from digitscan.model.input_range import InputRange
from digitscan.model.number_rules import NumberRules
from digitscan.system.file_filter import FileFilter, check_pattern

MAX_CHUNK_SIZE = 4096
MIN_TIMEOUT_SECONDS = 0.1
MIN_MEGAPIXELS = 0.001


class Frames(StrEnum):
    """Which frames of an animation, or of another file of several pictures that are no pages, are read."""

    FIRST = "first"
    """The first. If there are more, the row is `review` and says so."""
    ALL = "all"
    """Each has a row, as the pages of a TIFF have."""


@dataclass(frozen=True)
class ScanConfig:
    """How images are read. Raises UsageError for a value out of its range.

    >>> ScanConfig(min_confidence=0.9).timeout
    30.0
    """

    model: str | Path | None = None
    """A bundled model's name or a `.h5` file; None is the user's own `models/digits.h5`, else `cnn`; for
    numbers it is `line`."""
    input_range: InputRange | None = None
    """The input of a model that digitscan did not make, such as "0..255"; None is 0..1."""
    model_sha256: str | None = None
    """The SHA-256 of the model file, in hexadecimal; any other file is refused. Whoever gives it vouches for
    the model, whose own threshold is then trusted."""
    min_confidence: float | None = None
    """The confidence, 0 to 1, from which a row is `ok`; None is the model's own threshold."""
    probabilities: bool = False
    """Whether each row has the probabilities of all ten digits."""
    numbers: bool = False
    """Whether each picture is read as one number of several digits, not as a single digit."""
    length: str | int | None = None
    """How many digits the numbers have, as far as it is known: 5, "1-3" or "2,4-6"; None: any number."""
    check: str | None = None
    """The check digit with which the numbers end: "luhn"; None: there is none."""
    digit_confidence: bool = False
    """Whether each row of a number has the confidence of each digit."""
    max_megapixels: float = MAX_MEGAPIXELS
    """Larger pictures are not decoded: their row is an error."""
    max_pages: int = MAX_PAGES
    """More pages or frames of a file are not read; a row with status `error` says how many there are."""
    frames: Frames = Frames.FIRST
    """Which frames of GIF, WebP, APNG, MPO, HEIC and AVIF are read."""
    timeout: float = 30.0
    """The seconds that one file, or one page, may take before its row is an error."""
    workers: int | None = None
    """The most processes that read files at a time; None is the number of usable cores."""
    chunk_size: int = 512
    """The most files that a worker gets at a time. It changes the speed and never a row."""
    include: tuple[str, ...] = ()
    """Globs, see `FileFilter`: if there are any, the files of folders that match none are skipped."""
    exclude: tuple[str, ...] = ()
    """Globs of the files and folders in folders that are skipped."""
    hidden: bool = False
    """Whether files and folders in folders are read whose names begin with a dot."""

    @property
    def file_filter(self) -> FileFilter:
        """What tells which files of a folder are skipped."""
        return FileFilter(self.include, self.exclude, self.hidden)

    @property
    def number_rules(self) -> NumberRules:
        """What is known of the numbers beforehand."""
        return NumberRules.from_options(self.numbers, self.length, self.check)

    def __post_init__(self) -> None:
        """Check types and ranges, so that a wrong value fails here and not in a worker.

        Numbers of other types, such as NumPy's, become Python's: workers get their settings as JSON.
        """
        _check_number(self, "min_confidence", 0, 1)
        _check_number(self, "max_megapixels", MIN_MEGAPIXELS)
        _check_number(self, "timeout", MIN_TIMEOUT_SECONDS)
        _check_integer(self, "workers", 1)
        _check_integer(self, "max_pages", 1)
        _check_integer(self, "chunk_size", 1, MAX_CHUNK_SIZE)
        for name in ("probabilities", "numbers", "digit_confidence"):
            object.__setattr__(self, name, bool(getattr(self, name)))
        _check_numbers(self)
        if self.frames not in {*Frames}:
            raise UsageError(f"frames must be {' or '.join(Frames)}, not {self.frames!r}")
        object.__setattr__(self, "frames", Frames(self.frames))
        object.__setattr__(self, "hidden", bool(self.hidden))
        _check_patterns(self, "include")
        _check_patterns(self, "exclude")
        if self.input_range is not None:
            object.__setattr__(self, "input_range", InputRange.parse(self.input_range))


def _check_number(config: ScanConfig, name: str, minimum: float, maximum: float = math.inf) -> None:
    value = getattr(config, name)
    if value is None:
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and minimum <= number <= maximum) or isinstance(value, str | bool):
        raise UsageError(f"{name} must be a number {_format_limits(minimum, maximum)}, not {value!r}")
    object.__setattr__(config, name, number)


def _check_integer(config: ScanConfig, name: str, minimum: int, maximum: float = math.inf) -> None:
    value = getattr(config, name)
    if value is None:
        return
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if not minimum <= number <= maximum or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number {_format_limits(minimum, maximum)}, not {value!r}")
    object.__setattr__(config, name, number)


def _check_numbers(config: ScanConfig) -> None:
    """Check what is only for numbers, and keep the length in the one way in which manifests are compared."""
    if config.digit_confidence and not config.numbers:
        raise UsageError("--digit-confidence is for whole numbers: add --numbers")
    if config.numbers and config.probabilities:
        raise UsageError(
            "--probabilities are those of single digits: for --numbers there is --digit-confidence"
        )
    # Raises UsageError where there is no such length or check.
    object.__setattr__(config, "length", config.number_rules.length_text)


def _check_patterns(config: ScanConfig, name: str) -> None:
    """Check globs, and keep them as a tuple; a single one may be given as it is."""
    value = getattr(config, name)
    patterns = (value,) if isinstance(value, str) else value
    if not (isinstance(patterns, Collection) and all(isinstance(each, str) for each in patterns)):
        raise UsageError(f"{name} must be patterns such as '*.jpg', not {value!r}")
    for pattern in patterns:
        check_pattern(pattern)
    object.__setattr__(config, name, tuple(patterns))


def _format_limits(minimum: float, maximum: float) -> str:
    return f"of at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
