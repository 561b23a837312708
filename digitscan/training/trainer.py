"""Fitting a network: epochs, early stopping, progress, and a checkpoint after each epoch."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError, TrainingError
from digitscan.system.signals import defer_signals
from digitscan.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.distillation import label_targets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
from digitscan.training.config import Recipe

TIMED_STEPS = 30
"""Steps after which the time that a run takes is told."""


@dataclass(frozen=True)
class Fitted:
    """A network with the weights of its best epoch.

    `history` has loss and accuracy of each epoch; `seconds` are those at work, of all parts of an
    interrupted run; `images_per_second` of this one.
    """

    network: Any
    history: Mapping[str, list[float]]
    seconds: float
    images_per_second: float


class Run:
    """One run: where its checkpoint stands, and what it depends on."""

    def __init__(self, path: Path, depends_on: Mapping[str, Any], resume: bool) -> None:
        """Read the checkpoint if it is to go on from one. Raises OutputError where that does not fit."""
        self._path, self._depends_on = path, depends_on
        self.before = load_checkpoint(path, depends_on) if resume and path.exists() else None
        self.is_resumable = self.before is not None

    @property
    def first_epoch(self) -> int:
        """The epoch to go on with, counted from 0."""
        return self.before.epochs if self.before else 0

    def save(
        self,
        network: Any,
        history: Mapping[str, list[float]],
        best: list[Any],
        best_epoch: int,
        seconds: float,
    ) -> None:
        """Replace the checkpoint."""
        checkpoint = Checkpoint(
            self._depends_on,
            seconds,
            best_epoch,
            history,
            network=[variable.numpy() for variable in network.variables],
            optimizer=[variable.numpy() for variable in network.optimizer.variables],
            best=best,
        )
        save_checkpoint(self._path, checkpoint)
        self.is_resumable = True

    def restore(self, network: Any) -> None:
        """Bring a new network and its optimizer to where the checkpoint was taken. Raises OutputError."""
        if self.before is None:
            return
        network.optimizer.build(network.trainable_variables)
        for one, values in ((network, self.before.network), (network.optimizer, self.before.optimizer)):
            shapes = [tuple(variable.shape) for variable in one.variables]
            if shapes != [value.shape for value in values]:
                raise OutputError(
                    f"the checkpoint {self._path} is damaged: begin anew with --overwrite, not --resume"
                )
            for variable, value in zip(one.variables, values, strict=True):
                variable.assign(value)

    def end(self) -> None:
        """Remove the checkpoint: there is a model."""
        self._path.unlink(missing_ok=True)


def fit(
    network: Any,
    recipe: Recipe,
    generator: AugmentedDataGenerator,
    target_of: Callable[[Dataset], NDArray[Any]],
    run: Run,
    say: Callable[[str], None],
    quiet: bool = False,
) -> Fitted:
    """Fit with early stopping, from the run's checkpoint on where it has one.

    Raises TrainingError where the loss becomes no number, OutputError where no checkpoint can be written.
    """
    import keras
    from tqdm import tqdm

    first = run.first_epoch
    start = time.perf_counter()
    examples, order = generator.take(first)
    targets = target_of(examples)
    made = time.perf_counter() - start
    steps = math.ceil(len(examples.images) / recipe.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, recipe.epochs * steps)
    loss_name = (
        "sparse_categorical_crossentropy" if target_of is label_targets else "categorical_crossentropy"
    )
    network.compile(keras.optimizers.Adam(rate), loss_name, metrics=["accuracy"])
    run.restore(network)
    history: dict[str, list[float]] = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}
    best, best_epoch, best_weights, worked = -math.inf, 0, network.get_weights(), 0.0
    if run.before:
        history = {name: [*values] for name, values in run.before.history.items()}
        best_epoch, best_weights, worked = run.before.best_epoch, [*run.before.best], run.before.seconds
        best = history["val_accuracy"][best_epoch]
    seen, start = 0, time.perf_counter()
    with (
        tqdm(
            total=recipe.epochs, initial=first, desc="epochs", unit="epoch", disable=quiet, position=0
        ) as epochs,
        tqdm(total=steps, unit="batch", disable=quiet, position=1, leave=False) as batches,
    ):
        for epoch in range(first, recipe.epochs):
            if epoch - best_epoch > recipe.patience:  # the run had ended but for its calibration
                break
            if epoch > first:
                examples, order = generator.take(epoch)
                if epoch % recipe.epochs_per_dataset == 0:
                    targets = target_of(examples)
            batches.reset(total=steps)
            sums, taken, timed = [0.0, 0.0], 0, 0.0
            for step in range(steps):
                rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
                images, labels = to_network_input(examples.images[rows]), targets[rows]
                if epoch == first and step == 3:  # the first steps trace and warm up
                    timed = time.perf_counter()
                with (
                    defer_signals()
                ):  # TensorFlow traces Python at times, and would lose what a signal raises there
                    now = network.train_on_batch(images, labels, return_dict=True)
                taken += len(labels)
                sums[0] += float(now["loss"]) * len(labels)
                sums[1] += float(now["accuracy"]) * len(labels)
                batches.update()
                if step % 20 == 0:
                    loss, accuracy = sums[0] / taken, sums[1] / taken
                    batches.set_description(f"loss {loss:.4f}, accuracy {accuracy:.4f}", False)
                if epoch == first and step == 3 + TIMED_STEPS:
                    each = (time.perf_counter() - timed) / TIMED_STEPS
                    with tqdm.external_write_mode(file=sys.stderr):
                        # Rounds are made while others are learned: the slower of the two sets the pace.
                        pace = max(made / recipe.epochs_per_dataset, each * steps)
                        say(_estimate(made + pace * (recipe.epochs - first)))
            seen += taken
            loss, accuracy = sums[0] / taken, sums[1] / taken
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in epoch {epoch + 1}: there is no model; "
                    "look at the data, or try another --seed or --batch-size"
                )
            val_loss, val_accuracy = evaluate(network, generator.validation)
            for name, value in zip(history, (loss, accuracy, val_loss, val_accuracy), strict=True):
                history[name].append(value)
            epochs.update()
            epochs.set_postfix_str(
                f"loss {loss:.4f}, accuracy {accuracy:.4f}, validation {val_loss:.4f}, {val_accuracy:.4f}"
            )
            # By accuracy: an overconfident loss is mended by the temperature, a wrong digit by nothing.
            if val_accuracy > best:
                best, best_epoch, best_weights = val_accuracy, epoch, network.get_weights()
            run.save(network, history, best_weights, best_epoch, worked + time.perf_counter() - start)
            if epoch - best_epoch >= recipe.patience:
                break
    network.set_weights(best_weights)
    say(f"Best epoch: {best_epoch + 1} of {len(history['loss'])}, validation accuracy {100 * best:.2f} %.")
    seconds = time.perf_counter() - start
    return Fitted(network, history, worked + seconds, seen / seconds)


def to_network_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (N, 28, 28) uint8 as a network takes them: (N, 28, 28, 1), 0..1."""
    import numpy as np

    return images[..., None].astype(np.float32) / np.float32(255.0)


def evaluate(network: Any, examples: Dataset) -> tuple[float, float]:
    """Return loss (natural logarithm) and accuracy (0..1) of the Keras network."""
    import numpy as np

    probabilities = np.concatenate(
        [
            np.asarray(network(to_network_input(examples.images[start : start + 500]), training=False))
            for start in range(0, len(examples.images), 500)
        ]
    )
    given = probabilities[np.arange(len(examples.labels)), examples.labels]
    accuracy = float((probabilities.argmax(axis=1) == examples.labels).mean())
    return float(-np.log(np.maximum(given, 1e-12)).mean()), accuracy


def _estimate(seconds: float) -> str:
    amount = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
    return f"This takes at most about {amount}, by the first {TIMED_STEPS} steps."
