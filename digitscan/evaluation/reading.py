"""Have labelled images read by a model, as a scan reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.evaluation.labels import LabelledFile, NumberLabels
from digitscan.evaluation.metrics import NO_DIGIT, Answers
from digitscan.imaging.formats import MAX_MEGAPIXELS
from digitscan.model.number_rules import NumberRules
from digitscan.prediction import Status
from digitscan.system.log import log
from digitscan.workers.explainer import EncodedImage, ExplainedRow
from digitscan.workers.file_reader import read_files
from digitscan.workers.protocol import (
    FileLocation,
    ImageSetup,
    NumberSetup,
    WorkerRow,
    create_explain_setup,
    create_image_setup,
    create_number_explain_setup,
    create_number_setup,
    parse_worker_row,
)

PICTURE_SIDE = 120
"""Pixels on the longer side of the pictures of mistakes, at most."""
MAX_LISTED_FILES = 10
"""Files that cannot be read: so many are named."""

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.model.registry import Model


class ReadFiles(NamedTuple):
    """What was read in labelled files."""

    answers: Answers
    """Of the files that could be read."""
    unreadable: dict[int, str]
    """Why the others could not be, by their index."""


def read_labelled_files(
    files: Sequence[LabelledFile],
    model: Model,
    min_confidence: float | None = None,
    numbers: NumberLabels | None = None,
    rules: NumberRules | None = None,
) -> ReadFiles:
    """Return what a scan reads in the files. `min_confidence` is as in `ScanConfig`.

    `numbers` are the labels of files of whole numbers, `rules` what is known of these beforehand. Raises
    ModelError and DigitscanError as a scan does.
    """
    import numpy as np

    def create_setup(limit: float | None) -> ImageSetup | NumberSetup:
        if numbers is None:
            return create_image_setup(model, limit, False, MAX_MEGAPIXELS)
        return create_number_setup(model, rules or NumberRules(), limit)

    locations = [file.location for file in files]
    rows, any_rows = (
        read_files(locations, create_setup(limit), parse_worker_row)
        # The second time tells which rows no threshold makes `ok`.
        for limit in (min_confidence, 0.0)
    )
    unreadable: dict[int, str] = {}
    names, labels, read_rows, may_be_ok = [], [], [], []
    for index, (file, row, any_row) in enumerate(zip(files, rows, any_rows, strict=True)):
        if isinstance(row, str) or row.status == Status.ERROR:
            unreadable[index] = row if isinstance(row, str) else row.note
            continue
        names.append(file.name)
        labels.append(file.label)
        read_rows.append(row)
        may_be_ok.append(not isinstance(any_row, str) and any_row.status == Status.OK)
    answers = _collect(names, np.array(labels, np.int64), read_rows, may_be_ok, numbers)
    return ReadFiles(answers, unreadable)


def log_unreadable(names: Mapping[str, str]) -> None:
    """Log the names of files that could not be read, with the reasons: the first MAX_LISTED_FILES of them."""
    for name, reason in [*names.items()][:MAX_LISTED_FILES]:
        log(f"left out {name}: {reason}")
    if len(names) > MAX_LISTED_FILES:
        log(f"left out {len(names) - MAX_LISTED_FILES:,} more files that cannot be read")


def read_labelled_digits(
    images: NDArray[np.uint8], labels: NDArray[Any], model: Model, min_confidence: float | None = None
) -> Answers:
    """Return what a scan would read in images (N, 28, 28) uint8, light ink on black, with labels 0 to 9."""
    import numpy as np

    from digitscan.imaging.preprocess_batch import preprocess_batch
    from digitscan.model.classifier import classify_preprocessed
    from digitscan.workers.image_processor import make_no_digit_row, make_row

    results = preprocess_batch(list(images))
    answers = iter(
        classify_preprocessed(model.load_classifier(), [each for each in results if each.pixels is not None])
    )
    rows, may_be_ok = [], []
    for result in results:
        if result.pixels is None:
            rows.append(make_no_digit_row(result, ()))
            may_be_ok.append(False)
            continue
        answer = next(answers)
        rows.append(make_row(answer, (), False, model.metadata, min_confidence))
        may_be_ok.append(make_row(answer, (), False, model.metadata, 0.0).status == Status.OK)
    names = [f"MNIST test image {index}" for index in range(len(images))]
    return _collect(names, labels.astype(np.int64), rows, may_be_ok)


def load_pictures(
    files: Sequence[FileLocation], model: Model, numbers: bool
) -> list[NDArray[np.uint8] | None]:
    """Return each picture, gray and reduced if it is large; None for a file that cannot be read.

    `numbers` says whether the model is one of numbers.
    """
    setup = (
        create_number_explain_setup(model, NumberRules(), None, PICTURE_SIDE)
        if numbers
        else create_explain_setup(model, None, PICTURE_SIDE, findings=False)
    )
    return [None if isinstance(row, str) else row for row in read_files(files, setup, _parse_picture)]


def _parse_picture(values: Any) -> NDArray[np.uint8] | None:
    """Return the picture of what a worker sent, an ExplainedRow. Raises TypeError or ValueError."""
    picture = ExplainedRow(*values).picture
    return None if picture is None else EncodedImage(*picture).decode()


def _collect(
    names: Sequence[str],
    labels: NDArray[np.int64],
    rows: Sequence[WorkerRow],
    may_be_ok: Sequence[bool],
    numbers: NumberLabels | None = None,
) -> Answers:
    import numpy as np

    if numbers is None:
        predictions = [NO_DIGIT if row.digit is None else row.digit for row in rows]
    else:
        predictions = [numbers.encode(row.number or "") for row in rows]
    return Answers(
        tuple(names),
        labels,
        np.array(predictions, np.int64),
        np.array([row.confidence or 0.0 for row in rows], np.float64),
        np.array([row.status == Status.OK for row in rows], np.bool_),
        np.array(may_be_ok, np.bool_),
        None if numbers is None else numbers.numbers,
    )
