"""A training run of the network that reads lines of digits: from the data to the saved model.

`pipeline.run_training` hands over to it for the architecture `line`. The numbers are composed while the
network trains (`data.number_generator`); nothing of the test digits influences it.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import NamedTuple

from digitscan.errors import DataError
from digitscan.imaging.version import LINE_PREPROCESS_VERSION
from digitscan.model.line_classifier import LineClassifier
from digitscan.model.metadata import LINE, LINE_CLASSES, LINE_INPUT_SHAPE, ModelMetadata, Reads
from digitscan.model.registry import Model
from digitscan.training.architectures import build_line
from digitscan.training.checkpoint import CheckpointFile
from digitscan.training.config import TrainConfig
from digitscan.training.data.datasets import Dataset, TrainTestData, find_missing_digits, split_train_val
from digitscan.training.data.number_generator import (
    DEFAULT_COUNTS,
    LineCounts,
    NumberDataGenerator,
    NumberSources,
    NumberSplit,
)
from digitscan.training.data.pen_files import PenStrokeData
from digitscan.training.libraries import import_training_libraries
from digitscan.training.line_calibration import (
    LineCalibration,
    LineScores,
    calibrate_lines,
    measure_lines,
)
from digitscan.training.line_task import LineTask
from digitscan.training.outputs import bundled_compiled_folder, choose_output, describe_run
from digitscan.training.recipes import Recipe
from digitscan.training.report import Log, show_activity
from digitscan.training.trainer import TrainingResult, fit


class _TrainedLineModel(NamedTuple):
    """What training gives before anything is saved."""

    result: TrainingResult
    calibration: LineCalibration
    test: LineScores
    compiled: bytes


def train_line(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainTestData,
    pens: PenStrokeData | None,
    checkpoint_file: CheckpointFile,
    log: Log,
    counts: LineCounts = DEFAULT_COUNTS,
) -> tuple[Model, TrainingResult]:
    """Train, calibrate and test the network; write its `.h5` and its compiled form.

    Return the model and how the training went. Raises as `pipeline.run_training` does.
    """
    start = time.perf_counter()
    sources = _create_sources(data, pens)
    log(
        f"Training {config.architecture} on numbers composed of {len(sources.digits['train'].images):,} "
        f"images{' and pen strokes' if pens else ''}, for at most {recipe.epochs} epochs of "
        f"{counts.train:,} pictures."
    )
    trained = _train(config, recipe, sources, checkpoint_file, counts, log)
    ok_share, ok_wrong_share = trained.test.ok_share, trained.test.ok_wrong_share
    log(
        "Of new numbers, composed of the test digits and of fonts and writers that it did not learn from, "
        f"{100 * trained.test.accuracy:.2f} % are read right. {100 * ok_share:.1f} % are ok, and "
        f"{100 * ok_wrong_share:.2f} % of these are wrong."
    )
    seconds = time.perf_counter() - start + checkpoint_file.previous_seconds
    model = _save(config, recipe, trained, seconds, log)
    return model, trained.result


def _create_sources(data: TrainTestData, pens: PenStrokeData | None) -> NumberSources:
    """Return what numbers are composed of. Raises DataError where a digit is missing."""
    train, val = split_train_val(data.x_train, data.y_train)
    test = Dataset(data.x_test, data.y_test)
    digits: dict[NumberSplit, Dataset] = {"train": train, "val": val, "test": test}
    for split, dataset in digits.items():
        missing = find_missing_digits(dataset.labels)
        if missing:
            raise DataError(
                f"of the {split} images, none is a {missing[0]}: numbers are composed of all ten digits, "
                "so give images of each, or leave out --data"
            )
    strokes = pens.splits if pens else {}
    # No writer is left for the tests: they are those of validation, who wrote none of the training numbers.
    writers = {split: strokes["train" if split == "train" else "val"] for split in digits} if pens else {}
    return NumberSources(digits, writers)


def _train(
    config: TrainConfig,
    recipe: Recipe,
    sources: NumberSources,
    checkpoint_file: CheckpointFile,
    counts: LineCounts,
    log: Log,
) -> _TrainedLineModel:
    """Fit a new network; compile it, calibrate it on composed numbers and test it on others."""
    from digitscan.model.tensorflow_log import silence_tensorflow

    with contextlib.ExitStack() as stack:
        with show_activity("Making the first numbers", config.quiet):
            generator = stack.enter_context(
                NumberDataGenerator(
                    sources,
                    config.seed,
                    recipe.epochs_per_dataset,
                    # As in `pipeline`: after the last epoch its images only count.
                    min(checkpoint_file.first_epoch, recipe.epochs - 1),
                    counts,
                )
            )
        stack.enter_context(silence_tensorflow())
        with show_activity("Starting TensorFlow", config.quiet):
            stack.enter_context(import_training_libraries())
        import keras

        keras.utils.set_random_seed(config.seed)
        task = LineTask(generator, config.seed, recipe.batch_size)
        result = fit(build_line(), recipe, task, checkpoint_file, log, config.quiet)
        with show_activity("Fitting the threshold for ok", config.quiet):
            few_digits = None if config.data is None else len(sources.digits["val"].labels)
            return _calibrate_and_test(result, generator, few_digits)


def _calibrate_and_test(
    result: TrainingResult, generator: NumberDataGenerator, digit_count: int | None
) -> _TrainedLineModel:
    from digitscan.model.tflite_compiler import compile_model

    compiled = compile_model(result.keras_model)
    classifier = LineClassifier(compiled, _create_metadata())
    lines = generator.make_calibration_lines()
    calibration = calibrate_lines(classifier, lines, digit_count)
    test = measure_lines(classifier, generator.make_test_lines(), calibration)
    return _TrainedLineModel(result, calibration, test, compiled)


def _create_metadata() -> ModelMetadata:
    """Return the metadata of a network that is not calibrated yet."""
    return ModelMetadata(
        architecture=LINE,
        classes=LINE_CLASSES,
        preprocess_version=LINE_PREPROCESS_VERSION,
        reads=Reads.NUMBERS,
        input_shape=LINE_INPUT_SHAPE,
    )


def _save(config: TrainConfig, recipe: Recipe, trained: _TrainedLineModel, seconds: float, log: Log) -> Model:
    """Write the `.h5` with its metadata and the compiled model. Raises OutputError."""
    from digitscan.model.export import save_model

    output = choose_output(config)
    training = {
        "epochs": len(trained.result.history["loss"]),
        "batch_size": recipe.batch_size,
        "images_per_second": round(trained.result.images_per_second),
        **describe_run(config.seed, seconds, config.data, config.pens),
    }
    metadata = replace(
        _create_metadata(),
        temperature=trained.calibration.temperature,
        ok_confidence=trained.calibration.ok_confidence,
        training=training,
        scores={
            "test accuracy": trained.test.accuracy,
            "test ok": trained.test.ok_share,
            "test ok wrong": trained.test.ok_wrong_share,
        },
    )
    return save_model(
        trained.result.keras_model,
        metadata,
        output,
        bundled_compiled_folder(output),
        compiled=trained.compiled,
        log=log,
    )
