"""The settings of a scan and their defaults: the command line and the Python API both read them here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from digitscan.errors import UsageError

MAX_CHUNK_SIZE = 4096
MIN_TIMEOUT_SECONDS = 0.1
MIN_MEGAPIXELS = 0.001


@dataclass(frozen=True)
class ScanConfig:
    """How images are read. Raises UsageError for a value out of its range.

    >>> ScanConfig(min_confidence=0.9).timeout
    30.0
    """

    model: str | Path | None = None
    """A bundled model's name or a `.h5` file; None is the user's own `models/digits.h5`, else `cnn`."""
    input_maximum: float | None = None
    """1.0 or 255.0: the value of full ink in the input of a model that digitscan did not make."""
    model_sha256: str | None = None
    """The SHA-256 of the model file, in hexadecimal; any other file is refused."""
    min_confidence: float | None = None
    """The confidence, 0 to 1, from which a row is `ok`; None is the model's own threshold."""
    probabilities: bool = False
    """Whether each row has the probabilities of all ten digits."""
    max_megapixels: float = 64.0
    """Larger pictures are not decoded: their row is an error."""
    timeout: float = 30.0
    """The seconds that one file may take before its row is an error."""
    workers: int | None = None
    """The most processes that read files at a time; None is the number of usable cores."""
    chunk_size: int = 512
    """The most files that a worker gets at a time. It changes the speed and never a row."""

    def __post_init__(self) -> None:
        """Check the ranges, so that a wrong value fails here and not in a worker."""
        _check("min_confidence", self.min_confidence, 0, 1)
        _check("max_megapixels", self.max_megapixels, MIN_MEGAPIXELS)
        _check("timeout", self.timeout, MIN_TIMEOUT_SECONDS)
        _check("workers", self.workers, 1)
        _check("chunk_size", self.chunk_size, 1, MAX_CHUNK_SIZE)
        if self.input_maximum not in (None, 1.0, 255.0):
            raise UsageError(f"input_maximum must be 1.0 or 255.0, not {self.input_maximum}")


def _check(name: str, value: float | None, minimum: float, maximum: float = math.inf) -> None:
    if value is None or (math.isfinite(value) and minimum <= value <= maximum):
        return
    limits = f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
    raise UsageError(f"{name} must be {limits}, not {value}")
