"""The training loop: epochs, early stopping, progress bars, and a checkpoint after each epoch.

Keras's own `Model.fit` is not used, for two reasons. A resumed run must end with the same weights, to the
last bit, as an uninterrupted one, so the order of an epoch's images must follow from the seed and the epoch
alone. And each step runs inside `defer_signals`: TensorFlow traces Python code in some steps, and an
exception that Ctrl-C raises there is lost.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from shutil import get_terminal_size
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import TrainingError
from digitscan.system.signals import defer_signals
from digitscan.training.checkpoint import HISTORY_COLUMNS, Checkpoint, CheckpointFile
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.recipes import Recipe

WARM_UP_STEPS = 3
"""The first steps, which are slow: TensorFlow traces the network. The estimate leaves them out."""
TIMED_STEPS = 30
"""The steps after the warm-up whose time the estimate of the duration is made from."""
FINISHING_SECONDS = 12.0
"""What compilation and tests take after the last epoch, besides the making of images, on two cores."""
STEPS_PER_DESCRIPTION = 20
"""Steps between two updates of the loss that the progress bar shows."""
EVALUATION_BATCH_SIZE = 500
MIN_BAR_COLUMNS = 78
"""A narrower terminal would cut the bars: it gets NARROW_BAR."""
NARROW_BAR = "{desc}{n_fmt}/{total_fmt}{postfix}"
"""The format of a progress bar without the bar."""
EMPTY_METRICS = "loss     -, accuracy     -: "
"""The description of the first steps, as long as the later ones."""

TargetFunction = Callable[[Dataset], NDArray[Any]]
"""Computes the targets of a dataset: labels (N,), or probabilities (N, classes)."""


class Metrics(NamedTuple):
    """Means over a dataset: the cross-entropy (natural logarithm), and the share of right answers, 0 to 1."""

    loss: float
    accuracy: float


class Batches(Protocol):
    """The batches of an epoch, in their order: inputs and targets of the same length."""

    @property
    def image_count(self) -> int:
        """The number of images of all batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]: ...


class TimedGenerator(Protocol):
    """What makes the images of a run, and knows how long that takes."""

    @property
    def dataset_seconds(self) -> float:
        """How long a training dataset takes to be made."""

    @property
    def calibration_seconds(self) -> float:
        """How long the images for calibration take to be made."""


class Task(Protocol):
    """What a network learns: its images, its loss, and how it is validated."""

    @property
    def generator(self) -> TimedGenerator:
        """What the images come from."""

    def load_epoch(self, epoch: int) -> Batches:
        """Return the batches of an epoch. Epochs count from 0, and are taken one after another."""

    def compile(self, keras_model: Any, optimizer: Any) -> None:
        """Give a network its optimizer, its loss and the metric `accuracy`; an epoch has been loaded."""

    def evaluate(self, keras_model: Any) -> Metrics:
        """Return loss and accuracy of a network on the validation images."""


@dataclass(frozen=True)
class TrainingResult:
    """A Keras model with the weights of its best epoch, and how the training went."""

    keras_model: Any
    history: Mapping[str, list[float]]
    """`loss`, `accuracy`, `val_loss` and `val_accuracy`: one value for each epoch."""
    images_per_second: float
    """The speed of this run; of a resumed run, since it was resumed."""


NO_HISTORY: Mapping[str, list[float]] = {name: [] for name in HISTORY_COLUMNS}
"""The history of a model that was not trained here."""


def fit(
    keras_model: Any,
    recipe: Recipe,
    task: Task,
    checkpoint_file: CheckpointFile,
    log: Callable[[str], object],
    quiet: bool = False,
) -> TrainingResult:
    """Train a network, from its checkpoint if there is one, for the recipe's epochs or until early stopping.

    Raises TrainingError where the loss becomes nan or infinite, OutputError where a checkpoint cannot be
    written.
    """
    first_epoch = checkpoint_file.first_epoch
    start = time.perf_counter()
    batches = task.load_epoch(first_epoch)
    loading_seconds = time.perf_counter() - start
    task.compile(keras_model, create_optimizer(recipe, len(batches)))
    checkpoint_file.restore(keras_model)
    history = _History(keras_model, checkpoint_file.previous)
    image_count, start = 0, time.perf_counter()
    estimate = _DurationEstimate(
        loading_seconds,
        task.generator.dataset_seconds / recipe.epochs_per_dataset,
        task.generator.calibration_seconds + FINISHING_SECONDS,
        recipe.epochs - first_epoch,
        len(batches),
    )
    with _Progress(recipe, first_epoch, len(batches), estimate, log, quiet) as progress:
        for epoch in range(first_epoch, recipe.epochs):
            if history.has_stalled(recipe.patience):
                break
            batches = task.load_epoch(epoch)
            metrics = fit_one_epoch(keras_model, batches, progress)
            if not math.isfinite(metrics.loss):
                raise TrainingError(
                    f"the loss became {metrics.loss} in epoch {epoch + 1}: there is no model; "
                    "look at the data, or try another --seed or --batch-size"
                )
            validation_metrics = task.evaluate(keras_model)
            history.append(metrics, validation_metrics, keras_model)
            progress.end_epoch(validation_metrics)
            image_count += batches.image_count
            seconds = checkpoint_file.previous_seconds + time.perf_counter() - start
            checkpoint_file.save(
                keras_model, history.columns, history.best_weights, history.best_epoch, seconds
            )
    seconds = time.perf_counter() - start
    keras_model.set_weights(history.best_weights)
    log(
        f"Best epoch: {history.best_epoch + 1} of {len(history)}, "
        f"validation accuracy {100 * history.best_accuracy:.2f} %."
    )
    return TrainingResult(keras_model, history.columns, image_count / seconds)


def fit_one_epoch(keras_model: Any, batches: Batches, progress: _Progress) -> Metrics:
    """Train a compiled network on the batches of one epoch; return the means over the epoch's images."""
    progress.start_epoch()
    loss_sum = accuracy_sum = 0.0
    image_count = 0
    for step, (images, targets) in enumerate(batches):
        # TensorFlow traces Python code in some steps, and loses an exception that a signal raises there.
        with defer_signals():
            step_metrics = keras_model.train_on_batch(images, targets, return_dict=True)
        image_count += len(images)
        loss_sum += float(step_metrics["loss"]) * len(images)
        accuracy_sum += float(step_metrics["accuracy"]) * len(images)
        progress.end_step(step, Metrics(loss_sum / image_count, accuracy_sum / image_count))
    return Metrics(loss_sum / image_count, accuracy_sum / image_count)


def evaluate(keras_model: Any, dataset: Dataset) -> Metrics:
    """Return loss and accuracy of a network on a dataset."""
    starts = range(0, len(dataset.images), EVALUATION_BATCH_SIZE)
    batches = (dataset.images[start : start + EVALUATION_BATCH_SIZE] for start in starts)
    probabilities = np.concatenate(
        [np.asarray(keras_model(to_model_input(batch), training=False)) for batch in batches]
    )
    likelihoods = probabilities[np.arange(len(dataset.labels)), dataset.labels]
    accuracy = float((probabilities.argmax(axis=1) == dataset.labels).mean())
    return Metrics(float(-np.log(np.maximum(likelihoods, 1e-12)).mean()), accuracy)


def to_model_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (N, 28, 28) uint8 as a network takes them: float32 (N, 28, 28, 1), 0 to 1."""
    return images[..., None].astype(np.float32) / np.float32(255.0)


def create_optimizer(recipe: Recipe, step_count: int) -> Any:
    """Return the optimizer of a recipe, see `Recipe`, for epochs of so many steps."""
    import keras

    learning_rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.epochs * step_count)
    return keras.optimizers.Adam(learning_rate)


@dataclass(frozen=True)
class EpochBatches:
    """The images of an epoch with their targets, in batches and in the random order of the epoch."""

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    order: NDArray[np.int64]
    batch_size: int

    @property
    def image_count(self) -> int:
        """The number of images of all batches."""
        return len(self.order)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        for start in range(0, len(self.order), self.batch_size):
            indices = self.order[start : start + self.batch_size]
            yield to_model_input(self.images[indices]), self.targets[indices]


class DigitTask:
    """The task of reading one digit, from the images of a generator: see `Task`.

    The targets of a dataset are computed once, for all epochs that use it.
    """

    def __init__(
        self, generator: AugmentedDataGenerator, compute_targets: TargetFunction, batch_size: int
    ) -> None:
        """Take what the images come from, and how their targets are computed."""
        self.generator, self._compute_targets, self._batch_size = generator, compute_targets, batch_size
        self._dataset: Dataset | None = None
        self._targets: NDArray[Any] = np.zeros(0)

    def load_epoch(self, epoch: int) -> EpochBatches:
        """Return the batches of an epoch; see `AugmentedDataGenerator.load_epoch`."""
        dataset, order = self.generator.load_epoch(epoch)
        if dataset is not self._dataset:
            self._dataset, self._targets = dataset, self._compute_targets(dataset)
        return EpochBatches(dataset.images, self._targets, order, self._batch_size)

    def compile(self, keras_model: Any, optimizer: Any) -> None:
        """Give a network its optimizer, and the loss for targets that are labels or probabilities."""
        is_labels = self._targets.ndim == 1
        loss = "sparse_categorical_crossentropy" if is_labels else "categorical_crossentropy"
        keras_model.compile(optimizer, loss, metrics=["accuracy"])

    def evaluate(self, keras_model: Any) -> Metrics:
        """Return loss and accuracy of a network on the validation images."""
        return evaluate(keras_model, self.generator.validation)


class _History:
    """The metrics of all epochs so far, and the weights of the best one, for early stopping."""

    def __init__(self, keras_model: Any, previous: Checkpoint | None) -> None:
        self.columns: dict[str, list[float]] = {name: [] for name in HISTORY_COLUMNS}
        self.best_accuracy, self.best_epoch = -math.inf, 0
        self.best_weights = keras_model.get_weights()
        if previous:
            self.columns = {name: [*previous.history[name]] for name in HISTORY_COLUMNS}
            self.best_epoch, self.best_weights = previous.best_epoch, [*previous.best_weights]
            self.best_accuracy = self.columns["val_accuracy"][self.best_epoch]

    def __len__(self) -> int:
        return len(self.columns["loss"])

    def append(self, metrics: Metrics, validation_metrics: Metrics, keras_model: Any) -> None:
        """Add an epoch, and keep its weights if it is the best one so far."""
        for name, value in zip(self.columns, (*metrics, *validation_metrics), strict=True):
            self.columns[name].append(value)
        # The best by accuracy, not by loss: calibration corrects an overconfident loss, but no wrong digit.
        if validation_metrics.accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = validation_metrics.accuracy, len(self) - 1
            self.best_weights = keras_model.get_weights()

    def has_stalled(self, patience: int) -> bool:
        """Return whether the last `patience` epochs were all worse than the best one or only as good."""
        return len(self) - self.best_epoch > patience


class _Progress:
    """Progress bars over the epochs and over the steps of an epoch; logs an estimate of the duration once."""

    def __init__(
        self,
        recipe: Recipe,
        first_epoch: int,
        step_count: int,
        estimate: _DurationEstimate,
        log: Callable[[str], object],
        quiet: bool,
    ) -> None:
        from tqdm import tqdm

        # Else tqdm makes one between processes, and for that Python starts a process of its own.
        tqdm.set_lock(threading.RLock())
        self._step_count, self._log = step_count, log
        self._timer = _DurationTimer(estimate)
        create_bar = partial(
            tqdm,
            disable=True if quiet else None,  # None: where stderr is no terminal
            bar_format=NARROW_BAR if get_terminal_size().columns < MIN_BAR_COLUMNS else None,
        )
        self._epoch_bar = create_bar(
            total=recipe.epochs, initial=first_epoch, desc="epochs: ", unit="epoch", position=0
        )
        self._step_bar = create_bar(
            total=step_count, desc=EMPTY_METRICS, unit="batch", position=1, leave=False
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._step_bar.close()
        self._epoch_bar.close()

    def start_epoch(self) -> None:
        self._step_bar.reset(total=self._step_count)

    def end_step(self, step: int, metrics: Metrics) -> None:
        self._step_bar.update()
        if step % STEPS_PER_DESCRIPTION == 0:
            text = f"loss {metrics.loss:.3f}, accuracy {metrics.accuracy:.3f}"
            self._step_bar.set_description(text, refresh=False)
        message = self._timer.end_step()
        if message:
            with self._step_bar.external_write_mode(file=sys.stderr):
                self._log(message)

    def end_epoch(self, validation_metrics: Metrics) -> None:
        self._epoch_bar.update()
        self._epoch_bar.set_postfix_str(f"validation {100 * validation_metrics.accuracy:.2f} %")


class _DurationEstimate(NamedTuple):
    """What is known of a run's duration before its first step, in seconds."""

    loading_seconds: float
    """What it took to load the first images."""
    making_seconds: float
    """What it takes to make the images of an epoch, while those of another one are learned."""
    finishing_seconds: float
    """What calibration, compilation and tests take after the last epoch."""
    epoch_count: int
    step_count: int
    """The steps of an epoch."""

    def describe(self, step_seconds: float) -> str:
        """Return the duration of the run in words, for steps that take so long."""
        # The slower of the two determines the speed.
        epoch_seconds = max(step_seconds * self.step_count, self.making_seconds)
        seconds = self.loading_seconds + epoch_seconds * self.epoch_count + self.finishing_seconds
        duration = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
        return f"This takes at most about {duration}, estimated from the first {TIMED_STEPS} steps."


class _DurationTimer:
    """Times the first steps of a run, and estimates from them how long the whole run takes."""

    def __init__(self, estimate: _DurationEstimate) -> None:
        self._estimate = estimate
        self._steps_done, self._start = 0, 0.0

    def end_step(self) -> str | None:
        """Return the estimate, as a message, after the last timed step; else None."""
        self._steps_done += 1
        if self._steps_done == WARM_UP_STEPS:
            self._start = time.perf_counter()
        if self._steps_done != WARM_UP_STEPS + TIMED_STEPS:
            return None
        return self._estimate.describe((time.perf_counter() - self._start) / TIMED_STEPS)
