"""`digitscan calibrate`: fit a model's temperature and threshold for `ok` to the user's labelled pictures.

The pictures are read as in a scan, twice: first for the temperature, then with it for the threshold, since
the temperature may change which of several candidates is chosen.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError, ModelError
from digitscan.evaluation.console import create_console
from digitscan.evaluation.labels import LabelledFile, list_labelled_pages, read_truth
from digitscan.evaluation.metrics import NO_DIGIT, name_label
from digitscan.evaluation.reading import log_unreadable
from digitscan.imaging.formats import MAX_MEGAPIXELS
from digitscan.model.model_files import read_model_file, resolve_model
from digitscan.model.registry import Model, ModelKindError, load_model
from digitscan.model.user_calibrations import (
    Calibration,
    check_calibrations_writable,
    forget_calibrations,
    store_calibration,
)
from digitscan.prediction import Status
from digitscan.system.log import escape_control_characters, format_count, log
from digitscan.training.calibration import fit_temperature
from digitscan.training.certain_threshold import (
    CertainThreshold,
    bound_wrong_share,
    count_allowed_wrong,
    count_needed_rows,
    fit_certain_threshold,
    list_tested_counts,
)
from digitscan.training.config import CalibrateConfig
from digitscan.training.data.corrections import list_corrected_files
from digitscan.workers.file_reader import read_files
from digitscan.workers.protocol import WorkerRow, create_image_setup, parse_worker_row

if TYPE_CHECKING:
    from rich.console import Console

READING_TEMPERATURE = 10.0
"""The temperature of the first reading. Workers send probabilities with 6 decimals, in which those of a model
that is far too sure would all be 0 and 1; so softened, no digit's is lost."""
FACTORS = (0.005, 5.0)
"""The limits of what makes the best temperature of READING_TEMPERATURE. They are wide: models of other people
may be far too sure, if they were made for 0 to 255, or hardly sure at all, if they end in sigmoids."""
MAX_LISTED_MISTAKES = 5
"""Of the mistakes that leave no threshold, so many are named: their labels may be wrong."""


@dataclass(frozen=True)
class _ReadPictures:
    """What was read in the pictures that could be."""

    files: tuple[LabelledFile, ...]
    rows: tuple[WorkerRow, ...]
    """With the threshold 0: what is not `ok` here never is."""
    unreadable: dict[str, str]
    """Why the others could not be read, by their names."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """What the pictures show: (N,), 0 to 9 or NO_DIGIT."""
        return np.array([file.label for file in self.files], np.int64)

    @property
    def predictions(self) -> NDArray[np.int64]:
        """What was read: (N,), 0 to 9 or NO_DIGIT."""
        return np.array([NO_DIGIT if row.digit is None else row.digit for row in self.rows], np.int64)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """How sure the model is of that: (N,), 0 to 1."""
        return np.array([row.confidence or 0.0 for row in self.rows], np.float64)

    @property
    def may_be_ok(self) -> NDArray[np.bool_]:
        """Which rows a threshold makes `ok`: (N,)."""
        return np.array([row.status == Status.OK for row in self.rows], np.bool_)


def run_calibration(config: CalibrateConfig, console: Console | None = None) -> Calibration | None:
    """Calibrate a model for this user, print what was fitted, and return it; or remove what is stored.

    Prints to `console`, by default one on stdout. Raises DataError for pictures that cannot be used or that
    prove no threshold, ModelError, and UsageError.
    """
    if config.forget:
        _forget(config.model)
        return None
    check_calibrations_writable()
    model = _load_model(config)
    files = _list_files(config)
    log(f"reading {format_count(len(files), 'picture')} with {model.name}, twice")
    pictures = _read(files, model, READING_TEMPERATURE)
    log_unreadable(pictures.unreadable)
    temperature = _fit_temperature(pictures, model.metadata.classes)
    pictures = _read(files, model, temperature)
    may_be_ok = pictures.may_be_ok
    is_wrong = pictures.predictions != pictures.labels
    fitted = fit_certain_threshold(pictures.confidences[may_be_ok], is_wrong[may_be_ok], config.max_wrong)
    _print_result(model, pictures, temperature, fitted, config.max_wrong, console or create_console())
    if fitted is None:
        raise DataError(_describe_failure(pictures, config.max_wrong))
    calibration = Calibration(
        model.name if model.is_bundled else str(model.path.resolve()),
        temperature,
        fitted.threshold,
        len(pictures.files),
        datetime.date.today().isoformat(),
    )
    path = store_calibration(model.digest, model.metadata.input_range, calibration)
    log(f"Stored: {path}. From now on your scans with this model use it; --forget removes it.")
    return calibration


def _forget(name: str) -> None:
    resolved = resolve_model(name)
    count = forget_calibrations(hashlib.sha256(read_model_file(resolved.path)).hexdigest())
    if count:
        log(f"{resolved.name} is no longer calibrated")
    else:
        log(f"no calibration of {resolved.name} was stored")


def _load_model(config: CalibrateConfig) -> Model:
    try:
        return load_model(config.model, input_range=config.input_range, uses_calibration=False, log=log)
    except ModelKindError:
        raise ModelError(
            f"{config.model} reads numbers, and only models of single digits can be calibrated so far"
        ) from None


def _list_files(config: CalibrateConfig) -> list[LabelledFile]:
    """Return the labelled pictures. Raises DataError."""
    assert config.source is not None  # the config checks it
    if config.truth is None:
        return list_corrected_files(config.source, config.images)
    if not config.source.is_dir():
        raise DataError(
            f"{config.source} is no folder: name the one in which the paths of {config.truth} begin"
        )
    return list_labelled_pages(read_truth(config.truth, config.source))


def _read(files: Sequence[LabelledFile], model: Model, temperature: float) -> _ReadPictures:
    """Return what a scan would read with another temperature. Raises DataError if no file can be read."""
    tempered = replace(model, metadata=replace(model.metadata, temperature=temperature), fast_model=None)
    setup = create_image_setup(tempered, 0.0, True, MAX_MEGAPIXELS)
    unreadable: dict[str, str] = {}
    read: list[tuple[LabelledFile, WorkerRow]] = []
    rows = read_files([file.location for file in files], setup, parse_worker_row)
    for file, row in zip(files, rows, strict=True):
        if isinstance(row, str) or row.status == Status.ERROR:
            unreadable[file.name] = row if isinstance(row, str) else row.note
        else:
            read.append((file, row))
    if not read:
        raise DataError("none of the labelled pictures can be read: is the folder the right one?")
    return _ReadPictures(tuple(file for file, _ in read), tuple(row for _, row in read), unreadable)


def _fit_temperature(pictures: _ReadPictures, class_count: int) -> float:
    """Return the temperature that fits pictures read with READING_TEMPERATURE.

    The labels are smoothed by one picture in all (Platt 1999, "Probabilistic Outputs for Support Vector
    Machines"): where all are read right, they would fit a temperature of 0, and the next mistake would have
    the confidence 1. Raises DataError if the model has read none.
    """
    used = [
        (row.probabilities, file.label)
        for file, row in zip(pictures.files, pictures.rows, strict=True)
        if row.probabilities is not None and file.label < class_count
    ]
    if not used:
        raise DataError("no digit was found in any labelled picture: does each show a single one?")
    softened = np.array([probabilities for probabilities, _ in used], np.float64)
    if class_count > NO_DIGIT:
        softened = np.column_stack([softened, 1.0 - softened.sum(axis=1)])
    softened = np.maximum(softened, 1e-6)  # what was rounded to 0 is not impossible
    labels = np.array([label for _, label in used], np.uint8)
    factor = fit_temperature(softened, labels, 1.0 / (len(labels) + 2), FACTORS)
    return round(READING_TEMPERATURE * factor, 4)


def _print_result(
    model: Model,
    pictures: _ReadPictures,
    temperature: float,
    fitted: CertainThreshold | None,
    max_wrong: float,
    console: Console,
) -> None:
    from rich.table import Table
    from rich.text import Text

    total = len(pictures.files)
    right = int((pictures.predictions == pictures.labels).sum())
    lines = [
        ("pictures", f"{total:,}"),
        ("read right", f"{right:,} ({_percent(right / total)})"),
        ("temperature", f"{temperature:g}"),
    ]
    if fitted:
        lines += [
            ("threshold", f"{fitted.threshold:.4f}"),
            ("ok", f"{fitted.ok:,} ({_percent(fitted.ok / total)})"),
            (
                "wrong among ok",
                f"{fitted.wrong:,}; with 95 % confidence, at most {_percent(fitted.max_wrong)}",
            ),
        ]
    else:
        lines.append(("threshold", f"none: at most {_percent(max_wrong)} wrong among ok cannot be shown"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in lines:
        table.add_row(title, text)
    console.print(Text(f"Calibration of {escape_control_characters(model.name)}", style="bold"))
    console.print(table)


def _describe_failure(pictures: _ReadPictures, max_wrong: float) -> str:
    """Return why no threshold was found, and what to do."""
    may_be_ok = pictures.may_be_ok
    count, needed = int(may_be_ok.sum()), count_needed_rows(max_wrong)
    consequence = "Nothing is stored, and rows are what they were before."
    if count < needed:
        return (
            f"{count:,} pictures whose rows can be ok do not show that at most {_percent(max_wrong)} of such "
            f"rows are wrong: {needed:,} are needed, more if any is read wrong. {consequence} Label more "
            "pictures, or allow more wrong rows with --max-wrong"
        )
    order = np.flatnonzero(may_be_ok)[np.argsort(-pictures.confidences[may_be_ok], kind="stable")]
    allowed = count_allowed_wrong(count, max_wrong)
    first = next(list_tested_counts(pictures.confidences[order], allowed), count)
    is_wrong = (pictures.predictions != pictures.labels)[order[:first]]
    wrong = order[:first][is_wrong].tolist()
    bound = bound_wrong_share(len(wrong), first)
    mistakes = ", ".join(_describe_mistake(pictures, index) for index in wrong[:MAX_LISTED_MISTAKES])
    return (
        f"among the {first:,} rows of which the model is surest, {len(wrong):,} wrong: with 95 % confidence "
        f"up to {_percent(bound)} of such rows are wrong, and {_percent(max_wrong)} may be. {consequence} "
        f"Are the labels right ({mistakes})? If so, allow more with --max-wrong"
    )


def _describe_mistake(pictures: _ReadPictures, index: int) -> str:
    file, row = pictures.files[index], pictures.rows[index]
    return f"{file.name} is {name_label(file.label)} and read as {row.digit}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
