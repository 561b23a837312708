"""Fine-tuning: a trained model learns from corrected images, and is saved only if it has become better.

Only its last layer changes (see `last_layer`). Whether that helps is measured on corrections that were not
learned: each fifth of them is held out in turn. How much the corrections weigh is as much as MNIST's
validation images allow. Temperature and thresholds are fitted anew, as after any training.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError, TrainingError, UsageError
from digitscan.model.h5_file import load_keras_model
from digitscan.model.metadata import FAST_CNN
from digitscan.model.registry import Model, load_model, read_model_file
from digitscan.system.log import log as log_to_stderr
from digitscan.training.calibration import CalibratedModel, calibrate_model
from digitscan.training.config import FineTuneConfig, TrainConfig
from digitscan.training.data.augment import AugmentationConfig, augment_images
from digitscan.training.data.corrections import read_corrections
from digitscan.training.data.datasets import NOT_A_DIGIT, Dataset, preprocess_dataset, split_train_val
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.data.pen_files import load_pen_strokes
from digitscan.training.data.sources import load_data
from digitscan.training.ensemble import get_softmax_layer
from digitscan.training.last_layer import (
    LabelledFeatures,
    Weights,
    add_ones,
    compute_probabilities,
    fit_last_layer,
)
from digitscan.training.libraries import import_training_libraries, set_training_environment
from digitscan.training.outputs import (
    bundled_compiled_folder,
    check_not_existing,
    check_writable,
    choose_output,
)
from digitscan.training.recipes import RECIPES
from digitscan.training.trainer import evaluate, to_model_input

REHEARSAL_DIGITS = 6_000
"""Training digits, of the recipe's augmentation, whose answers are to stay as they are."""
CORRECTION_DRAWINGS = 600
"""Drawings of all corrections together; of few corrections, at most MAX_COPIES of each."""
MAX_COPIES = 20
FOLD_COUNT = 5
"""Each of these parts of the corrections is held out in turn."""
FULL_WEIGHT_CORRECTIONS = 300
"""From so many corrections on, they weigh as much as the rehearsal; fewer weigh less in proportion."""
WEIGHT_FACTORS = (1.0, 0.3, 0.1, 0.03)
"""The shares of that weight that are tried, until MNIST's validation images allow one."""
MAX_MNIST_FALL = 0.0005
"""The most by which the accuracy on MNIST's validation images may fall."""

Log = Callable[[str], object]


@dataclass(frozen=True)
class FineTuningResult:
    """What became of a model, measured on images that it has not learned from."""

    corrections: int
    right_before: int
    """The corrections that the model read right."""
    right_after: int
    """The corrections that it reads right after it has learned from the others."""
    mnist_before: float
    """The accuracy on MNIST's test images, 0 to 1."""
    mnist_after: float
    is_mnist_kept: bool
    """Whether MNIST's validation images are read as well as before, but for MAX_MNIST_FALL."""

    @property
    def is_better(self) -> bool:
        """Whether more corrections are read right, and MNIST as well as before."""
        return self.right_after > self.right_before and self.is_mnist_kept


@dataclass(frozen=True)
class _Task:
    """The images of a run: `corrections`, `val` and `test` preprocessed, `train` and `val_source` not yet."""

    corrections: Dataset
    train: Dataset
    val_source: Dataset
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
    log: Log = (lambda message: None) if config.quiet else log_to_stderr
    run = TrainConfig(output=config.output, overwrite=config.overwrite)
    check_not_existing(run)
    check_writable(run)
    base = _load_base(config.model, log)
    task = _load_task(config, base, log)
    log(f"Learning from {len(task.corrections.labels)} corrected images. Starting TensorFlow ...")
    calibrated, keras_model, result = _fine_tune(config, base, task, log)
    _log_result(result, log)
    if not (result.is_better or config.force):
        reason = "reads MNIST worse" if result.right_after > result.right_before else "is no better"
        raise TrainingError(
            f"the fine-tuned model {reason}, so nothing is saved: correct more images, or save it all the "
            "same with --force"
        )
    output = choose_output(run)
    model = _save(config, base, calibrated, keras_model, result, time.perf_counter() - start, output)
    log(f"Model: {output}")
    if base.fast_model is not None:
        log("It reads without a fast companion, so scans of many small images take longer.")
    return model, result


def _load_base(name: str, log: Log) -> Model:
    """Return the model to start from. Raises UsageError for one that cannot be fine-tuned."""
    base = load_model(name, log=log)
    metadata = base.metadata
    if metadata.architecture == FAST_CNN:
        raise UsageError(f"{name} answers in place of another model: fine-tune that one")
    if metadata.input_shape != (28, 28, 1) or metadata.input_maximum != 1.0:
        raise UsageError(
            f"{name} cannot be fine-tuned: it takes {metadata.input_shape} in 0..{metadata.input_maximum:g}, "
            "and digitscan trains models that take (28, 28, 1) in 0..1"
        )
    return base


def _load_task(config: FineTuneConfig, base: Model, log: Log) -> _Task:
    """Return the corrections that the model can learn, and MNIST. Raises DataError."""
    corrections = read_corrections(
        config.corrections, config.images, lambda path, reason: log(f"left out {path}: {reason}")
    )
    is_class = corrections.labels < base.metadata.classes
    if not is_class.all():
        log(
            f"left out {np.count_nonzero(~is_class)} images without a digit: {base.name} knows digits only, "
            "fine-tune a cnn to have them rejected"
        )
        if not is_class.any():
            raise DataError(f"{config.corrections} corrects no digit, and {base.name} knows digits only")
    data = load_data(None)
    train, val = split_train_val(data.x_train, data.y_train)
    return _Task(
        Dataset(corrections.images[is_class], corrections.labels[is_class]),
        Dataset(train.images[:REHEARSAL_DIGITS], train.labels[:REHEARSAL_DIGITS]),
        val,
        preprocess_dataset(val),
        preprocess_dataset(Dataset(data.x_test, data.y_test)),
    )


def _fine_tune(
    config: FineTuneConfig, base: Model, task: _Task, log: Log
) -> tuple[CalibratedModel, Any, FineTuningResult]:
    """Change the last layer, calibrate; return that, the Keras model, and the measurements."""
    from digitscan.model.tensorflow_log import silence_tensorflow

    recipe = RECIPES["cnn" if base.metadata.classes > NOT_A_DIGIT else "mlp"]
    pens = load_pen_strokes(config.pens).splits if config.pens else None
    with (
        AugmentedDataGenerator(
            task.train, task.val_source, config.seed, recipe.augmentation, 1, pen_strokes=pens
        ) as generator,
        silence_tensorflow(),
        import_training_libraries(),
    ):
        keras_model = load_keras_model(read_model_file(base.path))
        mnist_before = evaluate(keras_model, task.test).accuracy
        rehearsal, _ = generator.load_epoch(0)
        measured = _LastLayerFitting(keras_model, task, rehearsal, config.seed).run()
        calibrated = calibrate_model(
            keras_model,
            base.metadata.architecture,
            generator.make_calibration_images(),
            generator.make_calibration_fields(),
        )
        mnist_after = evaluate(keras_model, task.test).accuracy
    result = FineTuningResult(
        len(task.corrections.labels),
        measured.right_before,
        measured.right_after,
        mnist_before,
        mnist_after,
        measured.is_mnist_kept,
    )
    return calibrated, keras_model, result


@dataclass(frozen=True)
class _Measured:
    """How many corrections are read right, and whether MNIST's validation images still are."""

    right_before: int
    right_after: int
    is_mnist_kept: bool


class _LastLayerFitting:
    """Fits the last layer of a Keras model, in place."""

    def __init__(self, keras_model: Any, task: _Task, rehearsal: Dataset, seed: int) -> None:
        """Run all images through the layers before the last one. Raises ModelError if that has no softmax."""
        import keras

        self._layer = get_softmax_layer(keras_model, "the model")
        self._extractor = keras.Model(keras_model.inputs, self._layer.input)
        self._first = np.vstack([self._layer.get_weights()[0], self._layer.get_weights()[1][None]])
        self._corrections, self._seed = task.corrections, seed
        self._val, self._val_features = task.val, self._extract(task.val.images)
        features = self._extract(rehearsal.images)
        self._rehearsal = LabelledFeatures(features, compute_probabilities(features, self._first))
        self._plain_features = self._extract(task.corrections.images)
        self._drawings, self._drawn_from = self._draw(task.corrections)

    def run(self) -> _Measured:
        """Change the layer's weights; return the measurements."""
        count = len(self._corrections.labels)
        full_weight = min(1.0, count / FULL_WEIGHT_CORRECTIONS)
        everything = np.ones(count, bool)
        right_of_mnist = self._count_right(self._val_features, self._val.labels, self._first)
        min_right = right_of_mnist - MAX_MNIST_FALL * len(self._val.labels)
        for factor in WEIGHT_FACTORS:
            weights = self._fit(everything, factor * full_weight)
            is_kept = self._count_right(self._val_features, self._val.labels, weights) >= min_right
            if is_kept:
                break
        self._layer.set_weights([weights[:-1], weights[-1]])
        labels = self._corrections.labels
        right_before = self._count_right(self._plain_features, labels, self._first)
        return _Measured(right_before, self._cross_validate(factor * full_weight), is_kept)

    def _cross_validate(self, weight: float) -> int:
        """Return how many corrections are read right by weights that were fitted to the others."""
        labels = self._corrections.labels
        fold = np.random.default_rng(self._seed).permutation(len(labels)) % min(FOLD_COUNT, len(labels))
        right_count = 0
        for index in range(fold.max() + 1):
            is_held_out = fold == index
            weights = self._fit(~is_held_out, weight)
            right_count += self._count_right(self._plain_features[is_held_out], labels[is_held_out], weights)
        return right_count

    def _fit(self, is_learned: NDArray[np.bool_], weight: float) -> Weights:
        chosen = is_learned[self._drawn_from]
        targets = np.eye(self._first.shape[1], dtype=np.float32)[self._corrections.labels[self._drawn_from]]
        corrections = LabelledFeatures(self._drawings[chosen], targets[chosen])
        return fit_last_layer(self._first, self._rehearsal, corrections, weight)

    def _draw(self, corrections: Dataset) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the features of slightly distorted drawings, and the correction that each was drawn from."""
        count = len(corrections.labels)
        copies = min(MAX_COPIES, max(1, CORRECTION_DRAWINGS // count))
        weakly = AugmentationConfig(weakly_augmented=1.0)
        indices = np.arange(count)
        images = np.concatenate(
            [
                augment_images(corrections.images, corrections.labels, indices, self._seed + copy, weakly)
                for copy in range(copies)
            ]
        )
        is_drawn = images.any(axis=(1, 2))
        return self._extract(images[is_drawn]), np.tile(indices, copies)[is_drawn]

    def _extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = [
            np.asarray(self._extractor(to_model_input(images[start : start + 500]), training=False))
            for start in range(0, len(images), 500)
        ]
        return add_ones(np.concatenate(batches))

    @staticmethod
    def _count_right(features: NDArray[np.float32], labels: NDArray[np.uint8], weights: Weights) -> int:
        return int(np.count_nonzero((features @ weights).argmax(axis=1) == labels))


def _log_result(result: FineTuningResult, log: Log) -> None:
    log(
        f"Corrected images: {result.right_before} of {result.corrections} read right before, "
        f"{result.right_after} after, each by a model that has not learned it."
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
) -> Model:
    """Write the `.h5` with its metadata and the compiled model; return the model. Raises OutputError."""
    from digitscan.model.export import save_model

    training = {
        "from": Path(base.name).name,
        "from_sha256": base.digest,
        "corrections": result.corrections,
        "seed": config.seed,
        "seconds": round(seconds),
        "data": "MNIST",
        **({"pens": ", ".join(path.name for path in config.pens)} if config.pens else {}),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }
    metadata = replace(calibrated.metadata, training=training, scores={"test accuracy": result.mnist_after})
    return save_model(
        keras_model,
        metadata,
        output,
        bundled_compiled_folder(output),
        compiled=calibrated.compiled,
        is_tested_on_mnist=True,
    )
