"""The settings of the commands that show results, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from digitscan.errors import UsageError
from digitscan.model.input_range import InputRange
from digitscan.model.number_rules import NumberRules

MAX_INLINE_ROWS = 2000
"""The pictures of more rows are in a folder beside the page: a browser opens no page of 100 megabytes."""
MAX_IMAGES_IN_FIGURE = 50
"""More images would make a picture that hardly a viewer opens."""


@dataclass(frozen=True)
class ShowConfig:
    """What `digitscan show` explains, and where. Raises UsageError for values that do not fit together.

    >>> ShowConfig((Path("7.png"),)).output is None
    True
    """

    images: tuple[Path, ...]
    """The image files."""
    model: str | Path | None = None
    """As in `ScanConfig`: a bundled model's name or a `.h5` file."""
    model_sha256: str | None = None
    """As in `ScanConfig`: the SHA-256 of a model whose own threshold is to be trusted."""
    input_range: InputRange | None = None
    """As in `ScanConfig`: the input of a model that digitscan did not make."""
    numbers: bool = False
    """As in `ScanConfig`: whether each image is read as one number of several digits."""
    length: str | int | None = None
    """As in `ScanConfig`: how many digits the numbers have."""
    check: str | None = None
    """As in `ScanConfig`: the check digit with which they end."""
    min_confidence: float | None = None
    """The confidence, 0 to 1, from which a row is `ok`; None is the model's own threshold."""
    output: Path | None = None
    """The `.png` to draw; None prints to stdout."""
    overwrite: bool = False
    """Whether an existing output may be replaced."""

    @property
    def number_rules(self) -> NumberRules:
        """What is known of the numbers beforehand."""
        return NumberRules.from_options(self.numbers, self.length, self.check)

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        _ = self.number_rules  # raises UsageError where there is no such length or check
        if self.output is None:
            return
        if self.output.suffix.lower() != ".png":
            raise UsageError(f"the picture is a PNG: name it {self.output.stem}.png, not {self.output}")
        if len(self.images) > MAX_IMAGES_IN_FIGURE:
            raise UsageError(
                f"one picture shows at most {MAX_IMAGES_IN_FIGURE} images, not {len(self.images):,}: "
                "name fewer, or leave out -o"
            )


@dataclass(frozen=True)
class ReviewConfig:
    """Which rows are reviewed, and where the page goes. Raises UsageError for a value out of its range.

    >>> ReviewConfig(Path("predictions.csv")).output
    PosixPath('review.html')
    """

    csv: Path
    """The CSV of a scan; it may have been edited since, and hold corrections."""
    output: Path = Path("review.html")
    """The page to write. The pictures of many rows go into a folder of the same name with `-files`."""
    images: Path | None = None
    """The folder in which the rows' paths begin; None is where the scan found them."""
    audit: int = 0
    """Rows to be drawn at random from those that are `ok`, to measure how many of them are wrong."""
    model: str | Path | None = None
    """The model for the 28x28 pictures, as in `ScanConfig`: it chooses where there are several readings."""
    overwrite: bool = False
    """Whether an existing page and its folder may be replaced."""

    def __post_init__(self) -> None:
        """Check the values before anything is read."""
        if self.audit < 0:
            raise UsageError(f"audit must be at least 0, not {self.audit}")
        if self.output.suffix.lower() not in {".html", ".htm"}:
            raise UsageError(f"the page is HTML: name it {self.output.stem}.html, not {self.output}")
