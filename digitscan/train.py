"""Training: MNIST -> a fitted network -> one `.h5` with its program, scores and plots.

`cnn` learns from augmented images, and has an eleventh answer, "not a digit"; `mlp` is the classic
784-128-64-10 on MNIST, or learns from bent images where it has a teacher. Both see what a scan sees:
every image goes through `preprocess`. The test images choose nothing: early stopping, temperature and
thresholds come from a validation part cut from the training images.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.augment import Augmentation
from digitscan.errors import DataError, OutputError, TrainingError, UsageError
from digitscan.facts import QUICK
from digitscan.networks import CLASSES, NETWORKS
from digitscan.rounds import Examples, Rounds, preprocess_all
from digitscan.teacher import labels_of, taught_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.facts import ModelFacts
    from digitscan.model import Model

VALIDATION_SHARE = 1 / 12
"""Of the training images: 5,000 of MNIST's 60,000."""
OK_WRONG_TARGET = 0.003
"""Of validation digits marked `ok`, at most this share wrong: the promise."""
REFUSED_TARGET = 0.003
"""Of the digits among the validation images, at most this share refused as not a digit."""
SURE_DIFFERING = 0.001
"""Of validation pictures that the quick network is sure of, the share its teacher may not call `ok`."""
TIMED_STEPS = 30


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
    quiet: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam, from `rate` to zero along a cosine, over all of `epochs`."""

    epochs: int
    batch_size: int
    patience: int
    rate: float
    augmentation: Augmentation | None = None
    epochs_a_round: int = 2
    """Making a round of examples costs more than learning from it, so each is used so often."""


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
    from digitscan.mnist import load_mnist
    from digitscan.program import quiet

    say = _silent if options.quiet else _say
    if options.output.exists() and not options.overwrite:
        raise OutputError(f"{options.output} exists: name another file with -o, or add --overwrite")
    if options.architecture == QUICK and len(options.teachers) != 1:
        raise UsageError("the quick network answers in another one's place: name that with one --teacher")
    recipe = _recipe(options, recipe)
    classes = CLASSES[options.architecture]
    target_of = taught_by(options.teachers, classes, say) if options.teachers else labels_of
    start = time.perf_counter()
    mnist = load_mnist(options.data, lambda path, why: say(f"left out {path}: {why}"))
    if len(mnist.x_train) < 10 * 2:
        raise DataError(f"{len(mnist.x_train)} training images are too few: at least 20 are needed")
    learned, checked = split(mnist.x_train, mnist.y_train)
    test = preprocess_all(Examples(mnist.x_test, mnist.y_test))
    say(
        f"Training {options.architecture} on {len(learned.images):,} images, {len(checked.images):,} more "
        f"to validate, at most {recipe.epochs} epochs. Starting TensorFlow ..."
    )
    with (
        Rounds(learned, checked, options.seed, recipe.augmentation, recipe.epochs_a_round) as rounds,
        quiet(),
    ):
        network, history, steps = _fit(options, recipe, rounds, target_of, say)
        facts, classify = _calibrated(network, options, rounds.calibration())
        seconds = time.perf_counter() - start
        training = {
            "seed": options.seed,
            "epochs": len(history["loss"]),
            "batch_size": recipe.batch_size,
            "seconds": round(seconds),
            "images_per_second": round(steps),
            "data": "MNIST" if options.data is None else options.data.name,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        }
        loss, accuracy = _evaluate(network, test)
    facts = replace(facts, training=training, scores={"test accuracy": accuracy, "test loss": loss})
    return _finish(options, network, facts, history, test, classify(test.images), say)


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


def _fit(
    options: TrainOptions,
    recipe: Recipe,
    rounds: Rounds,
    target_of: Callable[[Examples], NDArray[Any]],
    say: Callable[[str], None],
) -> tuple[Any, dict[str, list[float]], float]:
    """Fit with early stopping; return the network with its best weights, its history and images/s."""
    import keras
    from tqdm import tqdm

    keras.utils.set_random_seed(options.seed)
    network = NETWORKS[options.architecture]()
    start = time.perf_counter()
    examples, order = rounds.take(0)
    made = time.perf_counter() - start
    steps = math.ceil(len(examples.images) / recipe.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, recipe.epochs * steps)
    loss_name = "sparse_categorical_crossentropy" if target_of is labels_of else "categorical_crossentropy"
    network.compile(keras.optimizers.Adam(rate), loss_name, metrics=["accuracy"])
    history: dict[str, list[float]] = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}
    best, best_epoch, best_weights = -math.inf, 0, network.get_weights()
    seen, start = 0, time.perf_counter()
    with (
        tqdm(total=recipe.epochs, desc="epochs", unit="epoch", disable=options.quiet, position=0) as epochs,
        tqdm(total=steps, unit="batch", disable=options.quiet, position=1, leave=False) as batches,
    ):
        for epoch in range(recipe.epochs):
            if epoch > 0:
                examples, order = rounds.take(epoch)
            if epoch % recipe.epochs_a_round == 0:
                targets = target_of(examples)
            batches.reset(total=steps)
            sums, taken, timed = [0.0, 0.0], 0, 0.0
            for step in range(steps):
                rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
                images, labels = _as_input(examples.images[rows]), targets[rows]
                if epoch == 0 and step == 3:  # the first steps trace and warm up
                    timed = time.perf_counter()
                now = network.train_on_batch(images, labels, return_dict=True)
                taken += len(labels)
                sums[0] += float(now["loss"]) * len(labels)
                sums[1] += float(now["accuracy"]) * len(labels)
                batches.update()
                if step % 20 == 0:
                    loss, accuracy = sums[0] / taken, sums[1] / taken
                    batches.set_description(f"loss {loss:.4f}, accuracy {accuracy:.4f}", False)
                if epoch == 0 and step == 3 + TIMED_STEPS:
                    each = (time.perf_counter() - timed) / TIMED_STEPS
                    with tqdm.external_write_mode(file=sys.stderr):
                        # Rounds are made while others are learned: the slower of the two sets the pace.
                        pace = max(made / recipe.epochs_a_round, each * steps)
                        say(_estimate(made + pace * recipe.epochs))
            seen += taken
            loss, accuracy = sums[0] / taken, sums[1] / taken
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in epoch {epoch + 1}: there is no model; "
                    "look at the data, or try another --seed or --batch-size"
                )
            val_loss, val_accuracy = _evaluate(network, rounds.validation)
            for name, value in zip(history, (loss, accuracy, val_loss, val_accuracy), strict=True):
                history[name].append(value)
            epochs.update()
            epochs.set_postfix_str(
                f"loss {loss:.4f}, accuracy {accuracy:.4f}, validation {val_loss:.4f}, {val_accuracy:.4f}"
            )
            # By accuracy: an overconfident loss is mended by the temperature, a wrong digit by nothing.
            if val_accuracy > best:
                best, best_epoch, best_weights = val_accuracy, epoch, network.get_weights()
            elif epoch - best_epoch >= recipe.patience:
                break
    network.set_weights(best_weights)
    say(f"Best epoch: {best_epoch + 1} of {len(history['loss'])}, validation accuracy {100 * best:.2f} %.")
    return network, history, seen / (time.perf_counter() - start)


def _as_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    return images[..., None].astype(np.float32) / np.float32(255.0)


def _evaluate(network: Any, examples: Examples) -> tuple[float, float]:
    """Return loss (natural logarithm) and accuracy (0..1) of the Keras network."""
    import numpy as np

    probabilities = np.concatenate(
        [
            np.asarray(network(_as_input(examples.images[start : start + 500]), training=False))
            for start in range(0, len(examples.images), 500)
        ]
    )
    given = probabilities[np.arange(len(examples.labels)), examples.labels]
    accuracy = float((probabilities.argmax(axis=1) == examples.labels).mean())
    return float(-np.log(np.maximum(given, 1e-12)).mean()), accuracy


def _estimate(seconds: float) -> str:
    amount = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
    return f"This takes at most about {amount}, by the first {TIMED_STEPS} steps."


def _calibrated(
    network: Any, options: TrainOptions, validation: Examples
) -> tuple[ModelFacts, Callable[[Any], Any]]:
    """Fit refusal, temperature and threshold to the compiled program's answers on the validation images."""
    from digitscan.calibrate import fit_ok_confidence, fit_refusal, fit_temperature
    from digitscan.facts import ModelFacts
    from digitscan.model import Classifier
    from digitscan.preprocess import PREPROCESS_VERSION
    from digitscan.program import compile_program

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
    from digitscan.cache import read_program
    from digitscan.calibrate import fit_sure
    from digitscan.model import Classifier, open_model

    model = open_model(teacher)
    answers = Classifier(read_program(model.program, model.program_digest), model.facts).classify(images)
    limit = 1.0 if model.facts.ok_confidence is None else model.facts.ok_confidence
    digits = probabilities[:, :10]
    agrees = (answers.argmax(axis=1) == digits.argmax(axis=1)) & (answers.max(axis=1) >= limit)
    sure = fit_sure(digits.max(axis=1), agrees, SURE_DIFFERING)
    return replace(facts, answers_for=model.digest, sure=max(sure, limit))


def _finish(
    options: TrainOptions,
    network: Any,
    facts: ModelFacts,
    history: dict[str, list[float]],
    test: Examples,
    probabilities: Any,
    say: Callable[[str], None],
) -> Model:
    """Save the model and its plots, and say what came out."""
    from digitscan.h5 import save_model
    from digitscan.model import SHIPPED_MODELS

    programs = options.output.parent / "programs"
    shipped = options.output.stem in SHIPPED_MODELS and programs.is_dir()
    model = save_model(network, facts, options.output, programs if shipped else None)
    say(
        f"Test accuracy {100 * facts.scores['test accuracy']:.2f} %, loss {facts.scores['test loss']:.4f}, "
        f"on {len(test.labels):,} images that chose nothing."
    )
    predicted = probabilities.argmax(axis=1)
    pairs = worst_pairs(test.labels, predicted)
    if pairs:
        say("Most confused: " + ", ".join(f"{a} read as {_name(b)} ({count})" for a, b, count in pairs) + ".")
    if options.plots is not None:
        from digitscan.plots import plot_confusion_matrix, plot_sample_predictions, plot_training

        options.plots.mkdir(parents=True, exist_ok=True)
        plot_training(history, options.plots)
        plot_sample_predictions(test.images, test.labels, probabilities, options.plots)
        plot_confusion_matrix(test.labels, predicted, options.plots)
        say(f"Plots: {options.plots}")
    say(f"Model: {options.output}")
    return model


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
