"""Training: MNIST -> a fitted network -> one `.h5` with its program, scores and plots.

`cnn` learns from augmented images, and has an eleventh answer, "not a digit"; `mlp` is the classic
784-128-64-10 on MNIST, or learns from bent images where it has a teacher. Both see what a scan sees:
every image goes through `preprocess`. The test images choose nothing: early stopping, temperature and
thresholds come from a validation part cut from the training images.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan import __version__
from digitscan.errors import DataError, OutputError, UsageError
from digitscan.model.metadata import FAST_CNN
from digitscan.model.registry import Model, load_model
from digitscan.system.log import log
from digitscan.system.signals import defer_signals
from digitscan.training.architectures import ARCHITECTURES, CLASS_COUNTS
from digitscan.training.checkpoint import checkpoint_path
from digitscan.training.config import Recipe
from digitscan.training.data.datasets import Dataset, preprocess_dataset
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.distillation import distillation_targets, label_targets
from digitscan.training.trainer import Run, evaluate, fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.model.metadata import ModelMetadata
    from digitscan.training.data.sources import TrainTestData
from digitscan.training.config import TrainConfig, _recipe
from digitscan.training.data.datasets import split

MAX_OK_WRONG = 0.003
"""Of validation digits marked `ok`, at most this share wrong: the promise."""


MAX_DIGITS_REJECTED = 0.003
"""Of the digits among the validation images, at most this share refused as not a digit."""


REQUIRED_BYTES = 32_000_000
"""Of disk, at most: a model and its program, the checkpoint and the new one beside it, plots."""


MAX_CASCADE_DISAGREEMENT = 0.001
"""Of validation pictures that the quick network is sure of, the share its teacher may not call `ok`."""


def run(options: TrainConfig, recipe: Recipe | None = None) -> Model:
    """Train a network and write its `.h5`, its program and its plots.

    The recipe is the architecture's own, unless one is given. Raises DataError for data that cannot be
    used, TrainingError where no usable model came out, OutputError where the file exists or cannot be
    written.
    """
    from digitscan.model.tensorflow_log import silence_tensorflow
    from digitscan.training.data.sources import load_data

    say = _silent if options.quiet else log
    if options.output.exists() and not options.overwrite:
        raise OutputError(f"{options.output} exists: name another file with -o, or add --overwrite")
    checkpoint = checkpoint_path(options.output)
    if checkpoint.exists() and not (options.resume or options.overwrite):
        raise OutputError(
            f"{checkpoint} is left of a run that was interrupted: add --resume to go on with that, "
            "or --overwrite to begin anew"
        )
    if options.architecture == FAST_CNN and len(options.teachers) != 1:
        raise UsageError("the quick network answers in another one's place: name that with one --teacher")
    check_place(options.output)
    recipe = _recipe(options, recipe)
    classes = CLASS_COUNTS[options.architecture]
    target_of = distillation_targets(options.teachers, classes, say) if options.teachers else label_targets
    start = time.perf_counter()
    mnist = load_data(options.data, lambda path, why: say(f"left out {path}: {why}"))
    if len(mnist.x_train) < 10 * 2:
        raise DataError(f"{len(mnist.x_train)} training images are too few: at least 20 are needed")
    attempt = Run(checkpoint, _depends_on(options, recipe, mnist), options.resume)
    train, val = split(mnist.x_train, mnist.y_train)
    test = preprocess_dataset(Dataset(mnist.x_test, mnist.y_test))
    say(
        f"Training {options.architecture} on {len(train.images):,} images, {len(val.images):,} more "
        f"to validate, at most {recipe.epochs} epochs. Starting TensorFlow ..."
    )
    if options.resume:
        say(
            f"Going on after epoch {attempt.first_epoch}."
            if attempt.before
            else "There is no checkpoint yet."
        )
    first_epoch = min(attempt.first_epoch, recipe.epochs - 1)
    try:
        with (
            AugmentedDataGenerator(
                train, val, options.seed, recipe.augmentation, recipe.epochs_per_dataset, first_epoch
            ) as generator,
            silence_tensorflow(),
        ):
            _load_libraries(options.plots is not None)
            fitted = fit(_new_network(options), recipe, generator, target_of, attempt, say, options.quiet)
            metadata, classify = _calibrated(fitted.network, options, generator.calibration())
            loss, accuracy = evaluate(fitted.network, test)
        training = {
            "seed": options.seed,
            "epochs": len(fitted.history["loss"]),
            "batch_size": recipe.batch_size,
            "seconds": round(
                time.perf_counter() - start + (attempt.before.seconds if attempt.before else 0.0)
            ),
            "images_per_second": round(fitted.images_per_second),
            "data": "MNIST" if options.data is None else options.data.name,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        }
        metadata = replace(metadata, training=training, scores={"test accuracy": accuracy, "test loss": loss})
        model = _save(options.output, fitted.network, metadata)
        attempt.end()
    except (KeyboardInterrupt, SystemExit):
        if attempt.is_resumable:
            say("Stopped. The same command with --resume goes on after the last whole epoch.")
        raise
    _show(options, metadata, fitted.history, test, classify(test.images), say)
    return model


def check_place(output: Path) -> None:
    """Raise OutputError unless the output's folder can be written and has room, before hours are spent."""
    folder = output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
    if free < REQUIRED_BYTES:
        raise OutputError(
            f"{folder} has room for {free / 1e6:.0f} MB, and model, checkpoint and plots need up to "
            f"{REQUIRED_BYTES / 1e6:.0f} MB: make room, or choose another place with -o"
        )


def _depends_on(options: TrainConfig, recipe: Recipe, mnist: TrainTestData) -> dict[str, Any]:
    """Return all that the weights depend on."""
    data = hashlib.sha256(mnist.x_train.tobytes() + mnist.y_train.tobytes())
    return {
        "digitscan": __version__,
        "architecture": options.architecture,
        "seed": options.seed,
        "recipe": asdict(recipe),
        "data": data.hexdigest(),
        "teachers": [load_model(teacher).digest for teacher in options.teachers],
    }


def _load_libraries(plots: bool) -> None:
    """Import what is needed from here on; while that takes seconds, a signal's exception would be lost."""
    with defer_signals():
        import h5py  # noqa: F401  # each is needed later
        import keras  # noqa: F401
        import tensorflow as tf
        from tensorflow.python.framework import convert_to_constants  # noqa: F401

        _ = tf.lite.TFLiteConverter  # loaded when it is first looked at
        with contextlib.suppress(ImportError):  # there is another where this has no wheel
            import ai_edge_litert.interpreter  # noqa: F401
        if plots:
            import matplotlib.backends.backend_agg  # noqa: F401


def _new_network(options: TrainConfig) -> Any:
    import keras

    keras.utils.set_random_seed(options.seed)
    return ARCHITECTURES[options.architecture]()


def _calibrated(
    network: Any, options: TrainConfig, validation: Dataset
) -> tuple[ModelMetadata, Callable[[Any], Any]]:
    """Fit refusal, temperature and threshold to the compiled program's answers on the validation images."""
    from digitscan.imaging.preprocess import PREPROCESS_VERSION
    from digitscan.model.classifier import Classifier
    from digitscan.model.metadata import ModelMetadata
    from digitscan.model.tflite_compiler import compile_model
    from digitscan.training.calibration import fit_ok_threshold, fit_rejection_bias, fit_temperature

    metadata = ModelMetadata(
        architecture=options.architecture,
        classes=int(network.output_shape[-1]),
        preprocess_version=PREPROCESS_VERSION,
    )

    def compiled() -> Classifier:
        """Return what a scan will run: the program that is saved is made in the same way."""
        return Classifier(compile_model(network), metadata)

    if metadata.classes == 11:
        kernel, bias = network.layers[-1].get_weights()
        bias[10] -= fit_rejection_bias(
            compiled().classify(validation.images), validation.labels, MAX_DIGITS_REJECTED
        )
        network.layers[-1].set_weights([kernel, bias])
    temperature = fit_temperature(compiled().classify(validation.images), validation.labels)
    metadata = replace(metadata, temperature=temperature)
    classify = compiled().classify
    probabilities = classify(validation.images)
    ok = fit_ok_threshold(probabilities, validation.labels, MAX_OK_WRONG)
    metadata = replace(metadata, ok_confidence=ok)
    if options.architecture == FAST_CNN:
        metadata = _sure_as(options.teachers[0], metadata, validation.images, probabilities)
    return metadata, classify


def _sure_as(
    teacher: str, metadata: ModelMetadata, images: NDArray[np.uint8], probabilities: NDArray[np.float64]
) -> ModelMetadata:
    """Fit the confidence from which the teacher would say the same, and call it `ok`."""
    from digitscan.model.classifier import Classifier
    from digitscan.model.compiled_cache import read_compiled
    from digitscan.training.calibration import fit_cascade_threshold

    model = load_model(teacher)
    answers = Classifier(read_compiled(model.compiled_path, model.compiled_digest), model.metadata).classify(
        images
    )
    limit = 1.0 if model.metadata.ok_confidence is None else model.metadata.ok_confidence
    digits = probabilities[:, :10]
    agrees = (answers.argmax(axis=1) == digits.argmax(axis=1)) & (answers.max(axis=1) >= limit)
    cascade_threshold = fit_cascade_threshold(digits.max(axis=1), agrees, MAX_CASCADE_DISAGREEMENT)
    return replace(metadata, cascade_target=model.digest, cascade_threshold=max(cascade_threshold, limit))


def _save(output: Path, network: Any, metadata: ModelMetadata) -> Model:
    from digitscan.model.export import save_model
    from digitscan.model.registry import BUNDLED_MODELS

    programs = output.parent / "programs"
    shipped = output.stem in BUNDLED_MODELS and programs.is_dir()
    return save_model(network, metadata, output, programs if shipped else None)


def _show(
    options: TrainConfig,
    metadata: ModelMetadata,
    history: Mapping[str, list[float]],
    test: Dataset,
    probabilities: Any,
    say: Callable[[str], None],
) -> None:
    """Draw the plots, and say what came out."""
    say(
        f"Test accuracy {100 * metadata.scores['test accuracy']:.2f} %, "
        f"loss {metadata.scores['test loss']:.4f}, on {len(test.labels):,} images that chose nothing."
    )
    predicted = probabilities.argmax(axis=1)
    pairs = worst_pairs(test.labels, predicted)
    if pairs:
        say("Most confused: " + ", ".join(f"{a} read as {_name(b)} ({count})" for a, b, count in pairs) + ".")
    if options.plots is not None:
        from digitscan.training.plots import plot_confusion_matrix, plot_sample_predictions, plot_training

        options.plots.mkdir(parents=True, exist_ok=True)
        plot_training(history, options.plots)
        plot_sample_predictions(test.images, test.labels, probabilities, options.plots)
        plot_confusion_matrix(test.labels, predicted, options.plots)
        say(f"Plots: {options.plots}")
    say(f"Model: {options.output}")


def worst_pairs(labels: NDArray[Any], predicted: NDArray[Any], most: int = 5) -> list[tuple[int, int, int]]:
    """Return (label, read as, how often) of the most frequent confusions, the worst first; 10 is no digit."""
    import numpy as np

    counts = np.zeros((10, 11), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    return [(int(k // 11), int(k % 11), int(counts.flat[k])) for k in order.tolist() if counts.flat[k] > 0]


def _name(answer: int) -> str:
    return "no digit" if answer == 10 else str(answer)


def _silent(words: str) -> None:
    pass
