"""Explanations: the row of an image, with the pictures and probabilities that led to it.

`explain_images` reads the images as a scan does, in worker processes; `terminal` and `figure` show them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.imaging.findings import Finding
from digitscan.imaging.line_image import LINE_HEIGHT, MAX_LINE_WIDTH
from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.model.number_rules import NumberRules
from digitscan.prediction import NOT_UTF8, Prediction, Status, add_page, is_number, path_to_name
from digitscan.workers.explainer import EncodedImage, ExplainedRow
from digitscan.workers.file_reader import read_files
from digitscan.workers.protocol import (
    FileLocation,
    create_explain_setup,
    create_number_explain_setup,
    parse_probability,
    parse_worker_row,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.model.registry import Model

PICTURE_SIDE = 400
"""Pixels on the longer side of the picture, at most."""
FINDING_COLORS = ((235, 235, 235), (30, 30, 30), (215, 60, 60))
"""Red, green and blue, 0 to 255, in which each `Finding` is shown: paper, the digit, what was left out."""
CLASS_NAMES = (*"0123456789", "no digit")
"""The classes of a model in the order of its outputs; some models have only the digits."""


@dataclass(frozen=True)
class Explanation:
    """A row and what led to it. A file that cannot be read has no pictures: they are None."""

    prediction: Prediction
    probabilities: tuple[tuple[str, float], ...] = ()
    """Each class with its probability, the digits in order; of a line of digits, its likely readings, the
    best one first. Empty if the image was not classified."""
    picture: NDArray[np.uint8] | None = None
    """The picture as it was decoded, gray, (H, W), with a longer side of at most PICTURE_SIDE."""
    findings: NDArray[np.uint8] | None = None
    """What each of its parts was taken for, (H, W), smaller; see `imaging.findings.Finding`. None of a
    number: the network sees the whole line."""
    model_input: NDArray[np.uint8] | None = None
    """What the model saw, (28, 28) or, of a line of digits, (32, W); None if nothing was found."""

    @property
    def is_line(self) -> bool:
        """Whether the model saw a line of digits."""
        return self.model_input is not None and len(self.model_input) == LINE_HEIGHT

    @property
    def read(self) -> str:
        """What was read, the digit or the number; empty if nothing was."""
        prediction = self.prediction
        return prediction.number or ("" if prediction.digit is None else str(prediction.digit))

    @property
    def digits(self) -> str:
        """The confidence of each digit of a number, such as "4=0.9990, 0=0.9812"; else empty."""
        prediction = self.prediction
        pairs = zip(prediction.number or "", prediction.digit_confidences or (), strict=False)
        return ", ".join(f"{digit}={confidence:.4f}" for digit, confidence in pairs)


def explain_images(
    files: Sequence[FileLocation],
    model: Model,
    min_confidence: float | None = None,
    picture_side: int = PICTURE_SIDE,
    findings: bool = True,
    rules: NumberRules | None = None,
) -> list[Explanation]:
    """Return an explanation of each image file, in order; one that cannot be read has status ERROR.

    `min_confidence` is as in `ScanConfig`. Pictures have a longer side of at most `picture_side` pixels;
    without `findings`, these are left out. `rules` are what is known of the numbers, for a model that
    reads such, and None for one of single digits. Raises ModelError if the model cannot be used,
    DigitscanError if no worker process can be kept alive.
    """
    setup: Mapping[str, object] = (
        create_explain_setup(model, min_confidence, picture_side, findings)
        if rules is None
        else create_number_explain_setup(model, rules, min_confidence, picture_side)
    )
    rows = read_files(files, setup, _parse_row)
    return [_with_name(file, row) for file, row in zip(files, rows, strict=True)]


def _with_name(file: FileLocation, row: Explanation | str) -> Explanation:
    """Return the explanation of a file with its name; `row` is the reason as text if there is none."""
    text, is_utf8 = path_to_name(os.fsencode(Path(file.path).as_posix()))
    if file.page:
        text = add_page(text, file.page)
    if isinstance(row, str):
        return Explanation(Prediction(text, None, None, Status.ERROR, row))
    given = row.prediction
    note = given.note if is_utf8 else "; ".join(filter(None, (given.note, NOT_UTF8)))
    return replace(row, prediction=replace(given, path=text, note=note))


def _parse_row(values: Any) -> Explanation:
    """Return what a worker sent, an ExplainedRow. Raises what `parse_worker_row` does."""
    explained = ExplainedRow(*values)
    is_line = explained.readings is not None
    row = parse_worker_row(explained.row)
    seen = _decode(explained.model_input, 255)
    if seen is not None and not _is_model_input(seen, is_line):
        raise ValueError("no input of the model")
    names = map(_name_reading, explained.readings or ()) if is_line else CLASS_NAMES
    confidences = row.digit_confidences
    return Explanation(
        Prediction(
            "",
            row.digit,
            row.confidence,
            Status(row.status),
            row.note,
            number=row.number,
            digit_confidences=None if confidences is None else tuple(confidences),
        ),
        tuple(zip(names, map(parse_probability, explained.probabilities or ()), strict=is_line)),
        _decode(explained.picture, 255),
        _decode(explained.findings, max(Finding)),
        seen,
    )


def _is_model_input(image: NDArray[np.uint8], is_line: bool) -> bool:
    if is_line:
        return len(image) == LINE_HEIGHT and image[0].size <= MAX_LINE_WIDTH
    return image.shape == (IMAGE_SIZE, IMAGE_SIZE)


def _name_reading(reading: Any) -> str:
    """Return what to call a reading that a worker sent. Raises TypeError or ValueError for anything else."""
    if reading == "":
        return "no digits"
    if not is_number(reading):
        raise ValueError("no reading")
    return str(reading)


def _decode(values: Any, max_value: int) -> NDArray[np.uint8] | None:
    """Return what a worker sent, an EncodedImage or None, as (H, W) with values of at most `max_value`."""
    if values is None:
        return None
    image = EncodedImage(*values).decode()
    if not image.size or image.max() > max_value:
        raise ValueError("no image")
    return image
