"""Explanations: the row of an image, with the pictures and probabilities that led to it.

`explain_images` reads the images as a scan does, in worker processes; `terminal` and `figure` show them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.imaging.findings import Finding
from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.prediction import NOT_UTF8, Prediction, Status, add_page, path_to_name
from digitscan.workers.explainer import EncodedImage
from digitscan.workers.file_reader import read_files
from digitscan.workers.protocol import (
    FileLocation,
    create_explain_setup,
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
    """Each class with its probability, the digits in order; empty if the image was not classified."""
    picture: NDArray[np.uint8] | None = None
    """The picture as it was decoded, gray, (H, W), with a longer side of at most PICTURE_SIDE."""
    findings: NDArray[np.uint8] | None = None
    """What each of its parts was taken for, (H, W), smaller; see `imaging.findings.Finding`."""
    model_input: NDArray[np.uint8] | None = None
    """What the model saw, (28, 28); None if no digit was found."""


def explain_images(
    files: Sequence[FileLocation],
    model: Model,
    min_confidence: float | None = None,
    picture_side: int = PICTURE_SIDE,
    findings: bool = True,
) -> list[Explanation]:
    """Return an explanation of each image file, in order; one that cannot be read has status ERROR.

    `min_confidence` is as in `ScanConfig`. Pictures have a longer side of at most `picture_side` pixels;
    without `findings`, these are left out. Raises ModelError if the model cannot be used, DigitscanError if
    no worker process can be kept alive.
    """
    setup = create_explain_setup(model, min_confidence, picture_side, findings)
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
    return Explanation(
        Prediction(text, given.digit, given.confidence, given.status, note),
        row.probabilities,
        row.picture,
        row.findings,
        row.model_input,
    )


def _parse_row(values: Any) -> Explanation:
    """Return what a worker sent, an ExplainedRow. Raises what `parse_worker_row` does."""
    row_values, probabilities, picture, findings, model_input = values
    row = parse_worker_row(row_values)
    seen = _decode(model_input, 255)
    if seen is not None and seen.shape != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError("no input of the model")
    return Explanation(
        Prediction("", row.digit, row.confidence, Status(row.status), row.note),
        tuple(zip(CLASS_NAMES, map(parse_probability, probabilities or ()), strict=False)),
        _decode(picture, 255),
        _decode(findings, max(Finding)),
        seen,
    )


def _decode(values: Any, max_value: int) -> NDArray[np.uint8] | None:
    """Return what a worker sent, an EncodedImage or None, as (H, W) with values of at most `max_value`."""
    if values is None:
        return None
    image = EncodedImage(*values).decode()
    if not image.size or image.max() > max_value:
        raise ValueError("no image")
    return image
