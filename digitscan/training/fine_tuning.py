"""Fine-tuning: a trained model learns from corrected images, and is saved only if it has become better.

Only its last layer changes (see `adaptation`). Temperature and thresholds are fitted anew, as after any
training.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digitscan.errors import TrainingError, UsageError
from digitscan.model.h5_file import load_keras_model
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import FAST_CNN
from digitscan.model.model_files import read_model_file
from digitscan.model.registry import Model, load_model
from digitscan.training.adaptation import Adaptation, adapt_last_layer
from digitscan.training.calibration import CalibratedModel, calibrate_model
from digitscan.training.config import FineTuneConfig, TrainConfig
from digitscan.training.data.corrections import read_corrections
from digitscan.training.data.datasets import NOT_A_DIGIT, Dataset, preprocess_dataset, split_train_val
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.data.pen_files import load_pen_strokes
from digitscan.training.data.sources import load_data
from digitscan.training.ensemble import check_ends_in_softmax
from digitscan.training.libraries import import_training_libraries, set_training_environment
from digitscan.training.outputs import (
    bundled_compiled_folder,
    check_not_existing,
    check_writable,
    choose_output,
    describe_run,
    log_unwritable_folders,
)
from digitscan.training.recipes import RECIPES, check_pens_are_drawn
from digitscan.training.report import Log, create_log, log_output, show_activity
from digitscan.training.trainer import evaluate

REHEARSAL_DIGITS = 6_000
"""Training digits, of the recipe's augmentation, whose answers are to stay as they are."""


@dataclass(frozen=True)
class FineTuningResult:
    """What became of a model, measured on images that it has not learned from."""

    corrections: int
    adaptation: Adaptation
    mnist_before: float
    """The accuracy on MNIST's test images, 0 to 1."""
    mnist_after: float

    @property
    def is_better(self) -> bool:
        """Whether more corrections are read right, and MNIST as well as before."""
        return self.reads_more and self.adaptation.is_mnist_kept

    @property
    def reads_more(self) -> bool:
        """Whether more corrections are read right."""
        return self.adaptation.right_after > self.adaptation.right_before


@dataclass(frozen=True)
class _Task:
    """The images of a run: `train` and `val` as in MNIST, `corrections` and `test` preprocessed."""

    corrections: Dataset
    train: Dataset
    val: Dataset
    test: Dataset


@set_training_environment()
def run_fine_tuning(config: FineTuneConfig) -> tuple[Model, FineTuningResult]:
    """Fine-tune a model on corrections, save it, and return it with the measurements.

    Raises TrainingError, and saves nothing, if it is not better, but for `config.force`. Raises DataError for
    corrections that cannot be used, ModelError and UsageError for a model that cannot be fine-tuned, and
    OutputError where the output exists or cannot be written.
    """
    start = time.perf_counter()
    log = create_log(config.quiet)
    base = _load_base(config.model, log)
    run = _describe_as_training(config, base)
    recipe = RECIPES[run.architecture]
    check_not_existing(run)
    check_pens_are_drawn(run, recipe)
    check_writable(run)
    log_unwritable_folders(run.output, log)
    task = _load_task(config, base, log)
    pens = load_pen_strokes(config.pens).splits if config.pens else None
    log(f"Learning from {len(task.corrections.labels)} corrected images.")
    with AugmentedDataGenerator(
        task.train, task.val, config.seed, recipe.augmentation, epochs_per_dataset=1, pen_strokes=pens
    ) as generator:
        calibrated, keras_model, result = _fine_tune(base, task, generator, config.seed, config.quiet)
    _log_result(result, log)
    if not (result.is_better or config.force):
        reason = "reads MNIST worse" if result.reads_more else "is no better"
        raise TrainingError(
            f"the fine-tuned model {reason}, so nothing is saved: correct more images, or save it all the "
            "same with --force"
        )
    output = choose_output(run)
    model = _save(config, base, calibrated, keras_model, result, time.perf_counter() - start, output, log)
    log_output(output, config.output, log)
    if base.fast_model is not None:
        log("It reads without a fast companion, so scans of many small images take longer.")
    return model, result


def _load_base(name: str, log: Log) -> Model:
    """Return the model to start from. Raises UsageError for one that cannot be fine-tuned."""
    base = load_model(name, uses_calibration=False, log=log)
    metadata = base.metadata
    if metadata.architecture == FAST_CNN:
        raise UsageError(f"{name} answers in place of another model: fine-tune that one")
    if metadata.input_shape != (28, 28, 1) or metadata.input_range is not InputRange.ONE:
        raise UsageError(
            f"{name} cannot be fine-tuned: it takes {metadata.input_shape} in {metadata.input_range}, "
            "and digitscan trains models that take (28, 28, 1) in 0..1"
        )
    return base


def _describe_as_training(config: FineTuneConfig, base: Model) -> TrainConfig:
    """Return the settings as those of a training. Raises UsageError for a value out of range."""
    return TrainConfig(
        "cnn" if base.metadata.classes > NOT_A_DIGIT else "mlp",
        config.output,
        pens=config.pens,
        seed=config.seed,
        overwrite=config.overwrite,
    )


def _load_task(config: FineTuneConfig, base: Model, log: Log) -> _Task:
    """Return the corrections that the model can learn, and MNIST. Raises DataError."""
    corrections = read_corrections(
        config.corrections,
        config.images,
        base.metadata.classes,
        lambda path, reason: log(f"left out {path}: {reason}"),
    )
    data = load_data(None)
    train, val = split_train_val(data.x_train, data.y_train)
    return _Task(
        corrections,
        Dataset(train.images[:REHEARSAL_DIGITS], train.labels[:REHEARSAL_DIGITS]),
        val,
        preprocess_dataset(Dataset(data.x_test, data.y_test)),
    )


def _fine_tune(
    base: Model, task: _Task, generator: AugmentedDataGenerator, seed: int, quiet: bool
) -> tuple[CalibratedModel, Any, FineTuningResult]:
    """Change the last layer, calibrate; return that, the Keras model, and the measurements."""
    from digitscan.model.tensorflow_log import silence_tensorflow

    with contextlib.ExitStack() as stack:
        stack.enter_context(silence_tensorflow())
        with show_activity("Starting TensorFlow", quiet):
            stack.enter_context(import_training_libraries())
        with show_activity("Learning, and measuring what was held out", quiet):
            keras_model = load_keras_model(read_model_file(base.path))
            check_ends_in_softmax(keras_model, base.path)
            mnist_before = evaluate(keras_model, task.test).accuracy
            rehearsal, _ = generator.load_epoch(0)
            adaptation = adapt_last_layer(
                keras_model, task.corrections, rehearsal, preprocess_dataset(task.val), seed
            )
        with show_activity("Fitting the thresholds for ok", quiet):
            calibrated = calibrate_model(
                keras_model,
                base.metadata.architecture,
                generator.make_calibration_images(),
                generator.make_calibration_fields(),
            )
            mnist_after = evaluate(keras_model, task.test).accuracy
    result = FineTuningResult(len(task.corrections.labels), adaptation, mnist_before, mnist_after)
    return calibrated, keras_model, result


def _log_result(result: FineTuningResult, log: Log) -> None:
    log(
        f"Corrected images: {result.adaptation.right_before} of {result.corrections} read right before, "
        f"{result.adaptation.right_after} after, each by a model that has not learned it."
    )
    log(
        f"MNIST's test images: {100 * result.mnist_before:.2f} % before, "
        f"{100 * result.mnist_after:.2f} % after."
    )


def _save(
    config: FineTuneConfig,
    base: Model,
    calibrated: CalibratedModel,
    keras_model: Any,
    result: FineTuningResult,
    seconds: float,
    output: Path,
    log: Log,
) -> Model:
    """Write the `.h5` with its metadata and the compiled model; return the model. Raises OutputError."""
    from digitscan.model.export import save_model

    training = {
        "from": Path(base.name).name,
        "from_sha256": base.digest,
        "corrections": result.corrections,
        **describe_run(config.seed, seconds, None, config.pens),
    }
    metadata = replace(calibrated.metadata, training=training, scores={"test accuracy": result.mnist_after})
    return save_model(
        keras_model,
        metadata,
        output,
        bundled_compiled_folder(output),
        compiled=calibrated.compiled,
        is_tested_on_mnist=True,
        log=log,
    )
