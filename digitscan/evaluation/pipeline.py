"""A whole evaluation: read labelled images, score the answers, print and write the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import DataError, OutputError, UsageError
from digitscan.evaluation.config import MNIST, EvaluateConfig
from digitscan.evaluation.console import create_console
from digitscan.evaluation.labels import (
    LabelledFile,
    NumberLabels,
    WholeNumberError,
    list_labelled_folder,
    list_labelled_pages,
    read_truth,
)
from digitscan.evaluation.result_file import check_result_path, make_folder, write_result
from digitscan.system.files import describe_os_error
from digitscan.system.log import log

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from digitscan.evaluation.metrics import Answers, Share
    from digitscan.evaluation.plots import Mistake
    from digitscan.evaluation.reading import ReadFiles
    from digitscan.evaluation.report import Evaluation
    from digitscan.model.registry import Model

METRICS_NAME = "metrics.json"
PLOT_NAMES = ("confusion_matrix.png", "calibration.png", "coverage.png", "mistakes.png")


@dataclass(frozen=True)
class _Images:
    """What is evaluated: files or MNIST's test images; neither for a corrected CSV."""

    files: list[LabelledFile] | None = None
    numbers: NumberLabels | None = None
    """The labels of files of whole numbers."""
    digits: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class _Result:
    """What was read, the answers, their scores, and the model that gave them, if one was asked."""

    images: _Images
    answers: Answers
    evaluation: Evaluation
    model: Model | None


def run_evaluation(config: EvaluateConfig, console: Console | None = None) -> Evaluation:
    """Evaluate; print the scores to `console`, by default one on stdout; return them.

    Raises DataError for labels that cannot be used, ModelError, UsageError, and OutputError where the folder
    for the results holds some already or cannot be written.
    """
    from digitscan.evaluation.report import print_evaluation, to_json_values

    if config.output:
        _check_free(config.output, config.overwrite)
    images = _find_images(config)
    result = _evaluate(config, images)
    evaluation = result.evaluation
    if config.json:
        print(json.dumps(to_json_values(evaluation), indent=2))
    else:
        print_evaluation(evaluation, console or create_console())
    if config.output:
        _write_results(result, config.output, config.overwrite)
        log(f"Results: {config.output}")
    return evaluation


def _find_images(config: EvaluateConfig) -> _Images:
    """Return the images that the source stands for. Raises DataError, and UsageError for numbers of MNIST."""
    source = Path(config.source)
    if str(config.source) == MNIST and not source.exists() and config.truth is None:
        from digitscan.evaluation.mnist import load_mnist

        if config.numbers:
            raise UsageError("MNIST has single digits only: leave out --numbers")
        arrays = load_mnist()
        return _Images(digits=(arrays["x_test"], arrays["y_test"]))
    numbers = NumberLabels() if config.numbers else None
    try:
        if config.truth:
            if not source.is_dir():
                raise DataError(
                    f"{source} is no folder: name the one in which the paths of {config.truth} begin"
                )
            return _Images(list_labelled_pages(read_truth(config.truth, source, numbers)), numbers)
        if source.is_dir():
            return _Images(list_labelled_pages(list_labelled_folder(source, numbers)), numbers)
        if source.is_file():
            return _Images()
    except WholeNumberError as error:
        raise DataError(f"{error}; add --numbers to read whole numbers") from None
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {describe_os_error(error)}") from error
    raise DataError(f"{source} does not exist: name a folder by label, a corrected CSV, or mnist")


def _evaluate(config: EvaluateConfig, images: _Images) -> _Result:
    """Return the answers and their scores."""
    from digitscan.evaluation.comparison import compare
    from digitscan.evaluation.corrected_csv import read_corrected_csv
    from digitscan.evaluation.metrics import compute_metrics, find_threshold
    from digitscan.evaluation.report import Evaluation

    audit: Share | None = None
    model, against, comparison = None, None, None
    if images.files is None and images.digits is None:
        _check_needs_no_model(config)
        corrected = read_corrected_csv(Path(config.source))
        answers, audit, reader = corrected.answers, corrected.audit, "the scan that wrote it"
        if config.numbers and answers.numbers is None:
            raise DataError(f"{config.source} is of single digits: leave out --numbers")
    else:
        model = _load_model(config, config.model)
        (answers, unreadable), reader = _read(images, model, config), _describe_model(model)
        images = _leave_out(images, unreadable)
        if config.against is not None:
            other = _load_model(config, config.against)
            other_answers, changed = _read(images, other, config)
            if changed:
                raise DataError("files were changed or removed while they were read: try again")
            against, comparison = _describe_model(other), compare(answers, other_answers)
    source = "MNIST's test images" if images.digits else str(config.source)
    # What people look at first is doubtful: the rows of a corrected CSV fit no threshold for all rows.
    point = find_threshold(answers, config.max_wrong) if model else None
    metrics = compute_metrics(answers)
    evaluation = Evaluation(
        source, reader, metrics, config.max_wrong, point, model is not None, audit, against, comparison
    )
    return _Result(images, answers, evaluation, model)


def _leave_out(images: _Images, unreadable: Mapping[int, str]) -> _Images:
    """Return the images without files that could not be read; log those. Raises DataError if none is left."""
    from digitscan.evaluation.reading import log_unreadable

    if images.files is None:
        return images
    log_unreadable({images.files[index].name: reason for index, reason in unreadable.items()})
    files = [file for index, file in enumerate(images.files) if index not in unreadable]
    if not files:
        raise DataError("none of the labelled files can be read: is the folder the right one?")
    return replace(images, files=files)


def _check_needs_no_model(config: EvaluateConfig) -> None:
    """Raise UsageError for settings that have no meaning for answers that are given already."""
    settings = (config.model, config.against, config.min_confidence, config.length, config.check)
    if any(value is not None for value in settings):
        raise UsageError(
            "a corrected CSV holds the answers of its scan: leave out --model, --against, "
            "--min-confidence, --length and --check, or name the images and --truth"
        )


def _load_model(config: EvaluateConfig, name: str | Path | None) -> Model:
    from digitscan.model.registry import load_model

    is_first = name == config.model
    return load_model(
        name,
        input_range=config.input_range if is_first else None,
        sha256=config.model_sha256 if is_first else None,
        numbers=config.numbers,
        log=log,
    )


def _describe_model(model: Model) -> str:
    calibration = f", {model.calibration.describe()}" if model.calibration else ""
    return f"{model.name} ({model.digest[:12]}{calibration})"


def _read(images: _Images, model: Model, config: EvaluateConfig) -> ReadFiles:
    from digitscan.evaluation.reading import ReadFiles, read_labelled_digits, read_labelled_files

    if images.digits:
        return ReadFiles(read_labelled_digits(*images.digits, model, config.min_confidence), {})
    assert images.files is not None
    return read_labelled_files(
        images.files, model, config.min_confidence, images.numbers, config.number_rules
    )


def _check_free(folder: Path, overwrite: bool) -> None:
    """Make the folder. Raises OutputError where a result exists in it and may not be replaced."""
    make_folder(folder)
    for name in (METRICS_NAME, *PLOT_NAMES):
        check_result_path(folder / name, overwrite)


def _write_results(result: _Result, folder: Path, overwrite: bool) -> None:
    """Write the scores and the plots into a folder. Raises OutputError."""
    from digitscan.evaluation.figures import DrawingError, draw_in_own_process
    from digitscan.evaluation.report import to_json_values

    # The numbers of a CSV without their pictures are in the CSV itself.
    shows_mistakes = result.answers.numbers is None or result.images.files is not None
    mistakes = _list_mistakes(result) if shows_mistakes else None
    try:
        pngs = draw_in_own_process(_plot, result.answers, result.evaluation, mistakes)
    except DrawingError as error:
        raise OutputError(f"the plots cannot be drawn: {error}") from error
    scores = json.dumps(to_json_values(result.evaluation), indent=2) + "\n"
    for name, data in {METRICS_NAME: scores.encode(), **pngs}.items():
        write_result(folder / name, data, overwrite)


def _plot(answers: Answers, evaluation: Evaluation, mistakes: list[Mistake] | None) -> dict[str, bytes]:
    """Return the PNGs; runs in a process of its own. The confusion matrix is for digits only."""
    from digitscan.evaluation.metrics import NO_DIGIT
    from digitscan.evaluation.plots import (
        plot_calibration,
        plot_confusion_matrix,
        plot_coverage,
        plot_mistakes,
    )

    is_digit = answers.labels != NO_DIGIT
    pngs = (
        plot_confusion_matrix(answers.labels[is_digit], answers.predictions[is_digit])
        if answers.numbers is None
        else None,
        plot_calibration(evaluation.metrics.calibration),
        plot_coverage(answers),
        None if mistakes is None else plot_mistakes(mistakes),
    )
    return {name: png for name, png in zip(PLOT_NAMES, pngs, strict=True) if png is not None}


def _list_mistakes(result: _Result) -> list[Mistake]:
    """Return the worst mistakes with their pictures: wrong `ok` rows first, then the most confident ones."""
    import numpy as np

    from digitscan.evaluation.plots import MAX_MISTAKES, Mistake

    answers = result.answers
    wrong = np.flatnonzero(~answers.is_right)
    order = np.lexsort((-answers.confidences[wrong], ~answers.is_ok[wrong]))
    worst = wrong[order][:MAX_MISTAKES].tolist()
    pictures = _load_pictures(result.images, worst, result.model)
    return [
        Mistake(
            answers.names[index],
            answers.name_label(int(answers.labels[index])),
            answers.name_label(int(answers.predictions[index])),
            float(answers.confidences[index]),
            picture,
        )
        for index, picture in zip(worst, pictures, strict=True)
    ]


def _load_pictures(
    images: _Images, indices: list[int], model: Model | None
) -> list[NDArray[np.uint8] | None]:
    """Return what the images look like; None where that is not known."""
    from digitscan.evaluation.reading import load_pictures

    if images.digits:
        return [images.digits[0][index] for index in indices]
    if images.files is None or model is None:
        return [None] * len(indices)
    locations = [images.files[index].location for index in indices]
    return load_pictures(locations, model, images.numbers is not None)
