"""A training run from the data to the saved model: `run_training`, which `digitscan train` calls.

An ensemble of trained models takes the same way, and leaves out the fitting.

`cnn` and `cnn-fast` learn from augmented images and have an eleventh class, "not a digit". `mlp` is the
classic 784-128-64-10 network on MNIST; with teachers it learns from distorted images. All see what a scan
sees: every image goes through `preprocess`. The test images influence nothing: early stopping, temperature
and thresholds use validation images, which are split off the training images.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from digitscan.errors import ModelError, UsageError
from digitscan.model.metadata import FAST_CNN, LINE
from digitscan.model.model_files import BUNDLED_MODELS
from digitscan.model.registry import Model, load_model
from digitscan.training.architectures import ARCHITECTURES, CLASS_COUNTS
from digitscan.training.calibration import CalibratedModel, calibrate_model, describe_no_threshold
from digitscan.training.checkpoint import CheckpointFile, checkpoint_path
from digitscan.training.config import TrainConfig
from digitscan.training.data.datasets import (
    NOT_A_DIGIT,
    Dataset,
    Split,
    TrainTestData,
    find_missing_digits,
    preprocess_dataset,
    split_train_val,
)
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.data.pen_files import PenStrokeData, load_pen_strokes
from digitscan.training.data.pen_strokes import PenStrokes
from digitscan.training.data.sources import load_data
from digitscan.training.distillation import Teacher, compute_distillation_targets, load_teachers
from digitscan.training.ensemble import build_ensemble, load_members
from digitscan.training.libraries import import_training_libraries, set_training_environment
from digitscan.training.line_pipeline import train_line
from digitscan.training.missing_digits import describe_digits, exclude_digits, load_other_digits
from digitscan.training.outputs import (
    bundled_compiled_folder,
    check_not_existing,
    check_writable,
    choose_output,
    describe_run,
    log_unwritable_folders,
)
from digitscan.training.plots import plot_curves, plot_run
from digitscan.training.recipes import Recipe, check_pens_are_drawn, resolve_recipe
from digitscan.training.report import (
    Log,
    create_log,
    log_output,
    log_test_results,
    show_activity,
    write_plots,
)
from digitscan.training.trainer import (
    NO_HISTORY,
    DigitTask,
    Metrics,
    TargetFunction,
    TrainingResult,
    evaluate,
    fit,
)
from digitscan.version import __version__


@dataclass(frozen=True)
class _Datasets:
    """The data of a run: `train` and `val` as in the source, `test` preprocessed, and what else is drawn."""

    train: Dataset
    val: Dataset
    test: Dataset
    pen_strokes: Mapping[Split, PenStrokes] | None
    missing_digits: Sequence[int]
    """The digits of which there are no training images."""


@dataclass(frozen=True)
class _TrainedModel:
    """What training gives before anything is saved."""

    result: TrainingResult
    calibrated: CalibratedModel
    test_metrics: Metrics
    bundled_accuracy: float | None
    """The accuracy of the bundled model on the same test images, unless this replaces it."""


@set_training_environment()
def run_training(config: TrainConfig, recipe: Recipe | None = None) -> Model:
    """Train a network; write its `.h5`, its compiled form and its plots; return the model.

    `recipe` replaces the architecture's own hyperparameters. Raises UsageError or ModelError for teachers
    that cannot be used, DataError for data that cannot be used, TrainingError where training ends without a
    usable model, and OutputError where the output exists or cannot be written.
    """
    start = time.perf_counter()
    log = create_log(config.quiet)
    check_not_existing(config)
    _check_teacher_count(config)
    recipe = resolve_recipe(config, recipe)
    check_pens_are_drawn(config, recipe)
    check_writable(config)
    log_unwritable_folders(config.output, log)
    teachers = load_teachers(config.teachers, CLASS_COUNTS[config.architecture], log)
    members = load_members(config.ensemble, CLASS_COUNTS[config.architecture])
    data = load_data(config.data, lambda path, reason: log(f"left out {path}: {reason}"))
    pens = load_pen_strokes(config.pens) if config.pens else None
    checkpoint_file = CheckpointFile(
        checkpoint_path(config.output),
        _collect_dependencies(config, recipe, data, pens, teachers),
        config.resume,
    )
    if config.architecture == LINE:
        with _suggest_resuming(checkpoint_file, log):
            model, result = train_line(config, recipe, data, pens, checkpoint_file, log)
            checkpoint_file.remove()
        if config.plots is not None:
            write_plots(plot_curves(result.history), config.plots, config.overwrite)
            log(f"Plots: {config.plots}")
        log_output(model.path, config.output, log)
        return model
    datasets = _split(data, pens)
    _log_start(config, recipe, datasets, checkpoint_file, log)
    with _suggest_resuming(checkpoint_file, log):
        trained = _train(config, recipe, datasets, teachers, members, checkpoint_file, log)
        seconds = time.perf_counter() - start + checkpoint_file.previous_seconds
        output = choose_output(config)
        model = _save(config, recipe, trained, seconds, output, log)
        checkpoint_file.remove()
    probabilities = trained.calibrated.classifier.classify(datasets.test.images)
    log_test_results(trained.test_metrics, datasets.test, probabilities, log)
    if config.plots is not None:
        pngs = plot_run(trained.result.history, datasets.test.images, datasets.test.labels, probabilities)
        write_plots(pngs, config.plots, config.overwrite)
        log(f"Plots: {config.plots}")
    if model.metadata.ok_confidence is None and not _was_told(model, datasets):
        log(describe_no_threshold(len(datasets.val.labels)))
    log_output(output, config.output, log)
    return model


def _was_told(model: Model, datasets: _Datasets) -> bool:
    """Tell whether it was said before the training that all rows will be `review`."""
    return bool(datasets.missing_digits) and model.metadata.classes <= NOT_A_DIGIT


def _check_teacher_count(config: TrainConfig) -> None:
    """Raise UsageError where the fast network has not exactly one teacher."""
    if config.architecture == FAST_CNN and len(config.teachers) != 1:
        raise UsageError(
            f"{FAST_CNN} is trained to answer in place of another model: name that with one --teacher"
        )


def _collect_dependencies(
    config: TrainConfig,
    recipe: Recipe,
    data: TrainTestData,
    pens: PenStrokeData | None,
    teachers: Sequence[Teacher],
) -> dict[str, Any]:
    """Return everything that the weights depend on: a checkpoint fits only a run with the same."""
    return {
        "digitscan": __version__,
        "architecture": config.architecture,
        "seed": config.seed,
        "recipe": asdict(recipe),
        "data": hashlib.sha256(data.x_train.tobytes() + data.y_train.tobytes()).hexdigest(),
        "pens": list(pens.digests) if pens else [],
        "teachers": [teacher.model.digest for teacher in teachers],
    }


def _split(data: TrainTestData, pens: PenStrokeData | None) -> _Datasets:
    train, val = split_train_val(data.x_train, data.y_train)
    test = preprocess_dataset(Dataset(data.x_test, data.y_test))
    return _Datasets(train, val, test, pens.splits if pens else None, find_missing_digits(data.y_train))


def _log_start(
    config: TrainConfig, recipe: Recipe, datasets: _Datasets, checkpoint_file: CheckpointFile, log: Log
) -> None:
    if config.ensemble:
        log(f"Joining {len(config.ensemble)} networks to an ensemble.")
        return
    labels = np.concatenate([datasets.train.labels, datasets.val.labels])
    for line in describe_digits(labels, CLASS_COUNTS[config.architecture] > NOT_A_DIGIT):
        log(line)
    log(
        f"Training {config.architecture} on {len(datasets.train.images):,} images, validating on "
        f"{len(datasets.val.images):,} more, for at most {recipe.epochs} epochs."
    )
    if checkpoint_file.previous:
        log(f"Continuing after epoch {checkpoint_file.first_epoch}.")
    elif config.resume:
        log("There is no checkpoint yet.")


@contextlib.contextmanager
def _suggest_resuming(checkpoint_file: CheckpointFile, log: Log) -> Iterator[None]:
    """When the block is interrupted, log how to continue, if there is a checkpoint to continue from."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if checkpoint_file.is_resumable:
            log("Stopped. The same command with --resume continues after the last whole epoch.")
        raise


def _train(
    config: TrainConfig,
    recipe: Recipe,
    datasets: _Datasets,
    teachers: Sequence[Teacher],
    members: Sequence[Model],
    checkpoint_file: CheckpointFile,
    log: Log,
) -> _TrainedModel:
    """Fit a new network, or join the members of an ensemble; calibrate and evaluate it.

    It is calibrated on augmented validation images, and evaluated on the test images.
    """
    from digitscan.model.tensorflow_log import silence_tensorflow

    with contextlib.ExitStack() as stack:
        with show_activity("Making the first images", config.quiet):
            generator = stack.enter_context(
                _create_generator(config, recipe, datasets, checkpoint_file.first_epoch)
            )
        stack.enter_context(silence_tensorflow())
        with show_activity("Starting TensorFlow", config.quiet):  # the generator works meanwhile
            stack.enter_context(import_training_libraries())
        result = (
            TrainingResult(build_ensemble(members), NO_HISTORY, 0.0)
            if members
            else fit(
                _build_network(config.architecture, config.seed),
                recipe,
                DigitTask(generator, _target_function(config.architecture, teachers), recipe.batch_size),
                checkpoint_file,
                log,
                config.quiet,
            )
        )
        with show_activity("Fitting the thresholds for ok", config.quiet):
            return _calibrate_and_test(config, result, datasets, generator, teachers)


def _create_generator(
    config: TrainConfig, recipe: Recipe, datasets: _Datasets, first_epoch: int
) -> AugmentedDataGenerator:
    return AugmentedDataGenerator(
        datasets.train,
        datasets.val,
        config.seed,
        recipe.augmentation,
        recipe.epochs_per_dataset,
        # A run that was interrupted after its last epoch needs that epoch's images only for their number.
        min(first_epoch, recipe.epochs - 1),
        datasets.pen_strokes,
        load_other_digits(datasets.missing_digits),
    )


def _calibrate_and_test(
    config: TrainConfig,
    result: TrainingResult,
    datasets: _Datasets,
    generator: AugmentedDataGenerator,
    teachers: Sequence[Teacher],
) -> _TrainedModel:
    """Calibrate a network on augmented validation images, and evaluate it on the test images."""
    exclude_digits(result.keras_model, datasets.missing_digits)
    calibrated = calibrate_model(
        result.keras_model,
        config.architecture,
        generator.make_calibration_images(),
        generator.make_calibration_fields(),
        teachers,
        None if config.data is None else len(datasets.val.labels),
    )
    if datasets.missing_digits and calibrated.metadata.classes <= NOT_A_DIGIT:
        calibrated = calibrated.without_ok()
    replaces_bundled = bundled_compiled_folder(config.output) is not None
    return _TrainedModel(
        result,
        calibrated,
        evaluate(result.keras_model, datasets.test),
        None if replaces_bundled else measure_bundled_accuracy(datasets.test),
    )


def _build_network(architecture: str, seed: int) -> Any:
    """Return a new Keras model whose initial weights, and dropout, follow from the seed."""
    import keras

    keras.utils.set_random_seed(seed)
    return ARCHITECTURES[architecture]()


def _target_function(architecture: str, teachers: Sequence[Teacher]) -> TargetFunction:
    """Return the function that computes the targets: the labels, mixed with the answers of any teachers."""
    if not teachers:
        return lambda dataset: dataset.labels
    return partial(compute_distillation_targets, teachers=teachers, class_count=CLASS_COUNTS[architecture])


def _save(
    config: TrainConfig, recipe: Recipe, trained: _TrainedModel, seconds: float, output: Path, log: Log
) -> Model:
    """Write the `.h5` with its metadata and the compiled model; return the model. Raises OutputError."""
    from digitscan.model.export import save_model

    how = (
        {"ensemble": ", ".join(Path(name).name for name in config.ensemble)}
        if config.ensemble
        else {
            "epochs": len(trained.result.history["loss"]),
            "batch_size": recipe.batch_size,
            "images_per_second": round(trained.result.images_per_second),
        }
    )
    training = {**how, **describe_run(config.seed, seconds, config.data, config.pens)}
    scores = {"test accuracy": trained.test_metrics.accuracy, "test loss": trained.test_metrics.loss}
    metadata = replace(trained.calibrated.metadata, training=training, scores=scores)
    return save_model(
        trained.result.keras_model,
        metadata,
        output,
        bundled_compiled_folder(output),
        compiled=trained.calibrated.compiled,
        is_tested_on_mnist=config.data is None,
        bundled_accuracy=trained.bundled_accuracy,
        log=log,
    )


def measure_bundled_accuracy(test: Dataset) -> float | None:
    """Return the accuracy, 0 to 1, of the bundled model on preprocessed images; None if it is not there."""
    try:
        classifier = load_model(BUNDLED_MODELS[0], uses_calibration=False).load_classifier()
    except ModelError:
        return None
    return float((classifier.classify(test.images).argmax(axis=1) == test.labels).mean())
