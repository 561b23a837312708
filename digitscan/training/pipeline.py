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
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan import __version__
from digitscan.errors import DataError, OutputError, UsageError
from digitscan.model.metadata import QUICK
from digitscan.model.registry import Model, open_model
from digitscan.system.signals import held
from digitscan.training.architectures import CLASSES, NETWORKS
from digitscan.training.checkpoint import checkpoint_path
from digitscan.training.data.augment import Augmentation
from digitscan.training.data.generator import Examples, Rounds, preprocess_all
from digitscan.training.distillation import labels_of, taught_by
from digitscan.training.trainer import Recipe, Run, evaluate, fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.model.metadata import ModelFacts
    from digitscan.training.data.sources import Mnist

VALIDATION_SHARE = 1 / 12
"""Of the training images: 5,000 of MNIST's 60,000."""
OK_WRONG_TARGET = 0.003
"""Of validation digits marked `ok`, at most this share wrong: the promise."""
REFUSED_TARGET = 0.003
"""Of the digits among the validation images, at most this share refused as not a digit."""
NEEDED_BYTES = 32_000_000
"""Of disk, at most: a model and its program, the checkpoint and the new one beside it, plots."""
SURE_DIFFERING = 0.001
"""Of validation pictures that the quick network is sure of, the share its teacher may not call `ok`."""


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is told. None stands for the recipe's own value."""

    architecture: str = "cnn"
    output: Path = Path("models/digits.h5")
    teachers: tuple[str, ...] = ()
    """Models whose answers are learned from; the quick network has one, for which it answers."""
    data: Path | None = None
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0
    plots: Path | None = None
    overwrite: bool = False
    resume: bool = False
    quiet: bool = False


RECIPES = {
    "cnn": Recipe(epochs=36, batch_size=128, patience=15, rate=2e-3, augmentation=Augmentation()),
    "mlp": Recipe(epochs=14, batch_size=128, patience=8, rate=2e-3),
    QUICK: Recipe(epochs=36, batch_size=128, patience=15, rate=3e-3, augmentation=Augmentation()),
}
TAUGHT_MLP = Recipe(
    epochs=240,
    batch_size=256,
    patience=80,
    rate=3e-3,
    augmentation=Augmentation(
        added_strokes=0.0, skeletons=0.0, fonts=0.0, non_digits=0.0, pens_and_cameras=0.0, gentle=1.0
    ),
    epochs_a_round=10,
)
"""What an MLP is trained with when it has a teacher."""


def run(options: TrainOptions, recipe: Recipe | None = None) -> Model:
    """Train a network and write its `.h5`, its program and its plots.

    The recipe is the architecture's own, unless one is given. Raises DataError for data that cannot be
    used, TrainingError where no usable model came out, OutputError where the file exists or cannot be
    written.
    """
    from digitscan.model.tflite_compiler import quiet
    from digitscan.training.data.sources import load_mnist

    say = _silent if options.quiet else _say
    if options.output.exists() and not options.overwrite:
        raise OutputError(f"{options.output} exists: name another file with -o, or add --overwrite")
    checkpoint = checkpoint_path(options.output)
    if checkpoint.exists() and not (options.resume or options.overwrite):
        raise OutputError(
            f"{checkpoint} is left of a run that was interrupted: add --resume to go on with that, "
            "or --overwrite to begin anew"
        )
    if options.architecture == QUICK and len(options.teachers) != 1:
        raise UsageError("the quick network answers in another one's place: name that with one --teacher")
    check_place(options.output)
    recipe = _recipe(options, recipe)
    classes = CLASSES[options.architecture]
    target_of = taught_by(options.teachers, classes, say) if options.teachers else labels_of
    start = time.perf_counter()
    mnist = load_mnist(options.data, lambda path, why: say(f"left out {path}: {why}"))
    if len(mnist.x_train) < 10 * 2:
        raise DataError(f"{len(mnist.x_train)} training images are too few: at least 20 are needed")
    attempt = Run(checkpoint, _depends_on(options, recipe, mnist), options.resume)
    learned, checked = split(mnist.x_train, mnist.y_train)
    test = preprocess_all(Examples(mnist.x_test, mnist.y_test))
    say(
        f"Training {options.architecture} on {len(learned.images):,} images, {len(checked.images):,} more "
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
            Rounds(
                learned, checked, options.seed, recipe.augmentation, recipe.epochs_a_round, first_epoch
            ) as rounds,
            quiet(),
        ):
            _load_libraries(options.plots is not None)
            fitted = fit(_new_network(options), recipe, rounds, target_of, attempt, say, options.quiet)
            facts, classify = _calibrated(fitted.network, options, rounds.calibration())
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
        facts = replace(facts, training=training, scores={"test accuracy": accuracy, "test loss": loss})
        model = _save(options.output, fitted.network, facts)
        attempt.end()
    except (KeyboardInterrupt, SystemExit):
        if attempt.can_be_resumed:
            say("Stopped. The same command with --resume goes on after the last whole epoch.")
        raise
    _show(options, facts, fitted.history, test, classify(test.images), say)
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
    if free < NEEDED_BYTES:
        raise OutputError(
            f"{folder} has room for {free / 1e6:.0f} MB, and model, checkpoint and plots need up to "
            f"{NEEDED_BYTES / 1e6:.0f} MB: make room, or choose another place with -o"
        )


def _depends_on(options: TrainOptions, recipe: Recipe, mnist: Mnist) -> dict[str, Any]:
    """Return all that the weights depend on."""
    data = hashlib.sha256(mnist.x_train.tobytes() + mnist.y_train.tobytes())
    return {
        "digitscan": __version__,
        "architecture": options.architecture,
        "seed": options.seed,
        "recipe": asdict(recipe),
        "data": data.hexdigest(),
        "teachers": [open_model(teacher).digest for teacher in options.teachers],
    }


def _load_libraries(plots: bool) -> None:
    """Import what is needed from here on; while that takes seconds, a signal's exception would be lost."""
    with held():
        import h5py  # noqa: F401  # each is needed later
        import keras  # noqa: F401
        import tensorflow as tf
        from tensorflow.python.framework import convert_to_constants  # noqa: F401

        _ = tf.lite.TFLiteConverter  # loaded when it is first looked at
        with contextlib.suppress(ImportError):  # there is another where this has no wheel
            import ai_edge_litert.interpreter  # noqa: F401
        if plots:
            import matplotlib.backends.backend_agg  # noqa: F401


def _new_network(options: TrainOptions) -> Any:
    import keras

    keras.utils.set_random_seed(options.seed)
    return NETWORKS[options.architecture]()


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Examples, Examples]:
    """Return the training images to learn from, and those kept for validation.

    The same for any seed, so that no teacher has learned what its pupil is validated on.
    """
    import numpy as np

    order = np.random.default_rng(1).permutation(len(images))
    held_back = max(10, round(len(order) * VALIDATION_SHARE))
    learned, checked = order[held_back:], order[:held_back]
    return Examples(images[learned], labels[learned]), Examples(images[checked], labels[checked])


def _recipe(options: TrainOptions, recipe: Recipe | None) -> Recipe:
    taught = options.teachers and options.architecture == "mlp"
    recipe = recipe or (TAUGHT_MLP if taught else RECIPES[options.architecture])
    for name in ("epochs", "batch_size", "patience"):
        value = getattr(options, name)
        if value is not None:
            recipe = replace(recipe, **{name: value})
    return recipe


def _calibrated(
    network: Any, options: TrainOptions, validation: Examples
) -> tuple[ModelFacts, Callable[[Any], Any]]:
    """Fit refusal, temperature and threshold to the compiled program's answers on the validation images."""
    from digitscan.imaging.preprocess import PREPROCESS_VERSION
    from digitscan.model.classifier import Classifier
    from digitscan.model.metadata import ModelFacts
    from digitscan.model.tflite_compiler import compile_program
    from digitscan.training.calibration import fit_ok_confidence, fit_refusal, fit_temperature

    facts = ModelFacts(
        architecture=options.architecture,
        classes=int(network.output_shape[-1]),
        preprocess_version=PREPROCESS_VERSION,
    )

    def compiled() -> Classifier:
        """Return what a scan will run: the program that is saved is made in the same way."""
        return Classifier(compile_program(network), facts)

    if facts.classes == 11:
        kernel, bias = network.layers[-1].get_weights()
        bias[10] -= fit_refusal(compiled().classify(validation.images), validation.labels, REFUSED_TARGET)
        network.layers[-1].set_weights([kernel, bias])
    temperature = fit_temperature(compiled().classify(validation.images), validation.labels)
    facts = replace(facts, temperature=temperature)
    classify = compiled().classify
    probabilities = classify(validation.images)
    ok = fit_ok_confidence(probabilities, validation.labels, OK_WRONG_TARGET)
    facts = replace(facts, ok_confidence=ok)
    if options.architecture == QUICK:
        facts = _sure_as(options.teachers[0], facts, validation.images, probabilities)
    return facts, classify


def _sure_as(
    teacher: str, facts: ModelFacts, images: NDArray[np.uint8], probabilities: NDArray[np.float64]
) -> ModelFacts:
    """Fit the confidence from which the teacher would say the same, and call it `ok`."""
    from digitscan.model.classifier import Classifier
    from digitscan.model.compiled_cache import read_program
    from digitscan.training.calibration import fit_sure

    model = open_model(teacher)
    answers = Classifier(read_program(model.program, model.program_digest), model.facts).classify(images)
    limit = 1.0 if model.facts.ok_confidence is None else model.facts.ok_confidence
    digits = probabilities[:, :10]
    agrees = (answers.argmax(axis=1) == digits.argmax(axis=1)) & (answers.max(axis=1) >= limit)
    sure = fit_sure(digits.max(axis=1), agrees, SURE_DIFFERING)
    return replace(facts, answers_for=model.digest, sure=max(sure, limit))


def _save(output: Path, network: Any, facts: ModelFacts) -> Model:
    from digitscan.model.h5_file import save_model
    from digitscan.model.registry import SHIPPED_MODELS

    programs = output.parent / "programs"
    shipped = output.stem in SHIPPED_MODELS and programs.is_dir()
    return save_model(network, facts, output, programs if shipped else None)


def _show(
    options: TrainOptions,
    facts: ModelFacts,
    history: Mapping[str, list[float]],
    test: Examples,
    probabilities: Any,
    say: Callable[[str], None],
) -> None:
    """Draw the plots, and say what came out."""
    say(
        f"Test accuracy {100 * facts.scores['test accuracy']:.2f} %, loss {facts.scores['test loss']:.4f}, "
        f"on {len(test.labels):,} images that chose nothing."
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


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _silent(words: str) -> None:
    pass
