"""Plots of a training run: its metrics by epoch, sample predictions and the confusion matrix.

See `evaluation.figures` for how they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError
from digitscan.evaluation.figures import (
    BLUE,
    GRAY,
    ORANGE,
    RED,
    DrawingError,
    create_figure,
    draw_in_own_process,
    encode_figure,
)
from digitscan.evaluation.plots import plot_confusion_matrix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_COLUMNS = 10
MAX_SAMPLE_ROWS = 2
"""The most rows of right predictions, and of wrong ones, in the plot of sample predictions."""
PLOT_NAMES = ("accuracy_plot.png", "loss_plot.png", "sample_predictions.png", "confusion_matrix.png")


def plot_run(
    history: Mapping[str, Sequence[float]],
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    probabilities: NDArray[Any],
) -> dict[str, bytes]:
    """Return the PNG of each of PLOT_NAMES, of those by epoch only if there were any.

    Raises OutputError where they cannot be drawn.

    `history` is as for `plot_training`, the other arguments as for `plot_sample_predictions`.
    """
    try:
        return draw_in_own_process(_plot_all, history, images, labels, probabilities)
    except DrawingError as error:
        raise OutputError(f"the plots cannot be drawn ({error}); the model is saved") from error


def plot_curves(history: Mapping[str, Sequence[float]]) -> dict[str, bytes]:
    """Return the PNG of each plot by epoch. Raises OutputError where they cannot be drawn."""
    try:
        return draw_in_own_process(_plot_curves, history)
    except DrawingError as error:
        raise OutputError(f"the plots cannot be drawn ({error}); the model is saved") from error


def _plot_curves(history: Mapping[str, Sequence[float]]) -> dict[str, bytes]:
    metrics = ("accuracy", "loss")
    return {
        name: plot_training(history, metric)
        for name, metric in zip(PLOT_NAMES, metrics, strict=False)
        if history[metric]
    }


def _plot_all(
    history: Mapping[str, Sequence[float]],
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    probabilities: NDArray[Any],
) -> dict[str, bytes]:
    pngs = (
        plot_sample_predictions(images, labels, probabilities),
        plot_confusion_matrix(labels, probabilities.argmax(axis=1)),
    )
    return {**_plot_curves(history), **dict(zip(PLOT_NAMES[-len(pngs) :], pngs, strict=True))}


def plot_training(history: Mapping[str, Sequence[float]], metric: str) -> bytes:
    """Return a PNG of "accuracy" or "loss": training and validation by epoch.

    `history` has that metric, and `val_` and that metric: one value for each epoch.
    """
    figure = create_figure(6.4, 4.0)
    axes = figure.add_subplot()
    training, validation = history[metric], history[f"val_{metric}"]
    epochs = range(1, len(training) + 1)
    axes.plot(epochs, training, color=BLUE, marker=".", label="training")
    axes.plot(epochs, validation, color=ORANGE, marker=".", label="validation")
    axes.set(xlabel="epoch", ylabel=metric)
    axes.locator_params(axis="x", integer=True, steps=[1, 2, 5, 10])
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return encode_figure(figure)


def plot_sample_predictions(
    images: NDArray[np.uint8], labels: NDArray[Any], probabilities: NDArray[Any]
) -> bytes:
    """Return a PNG of sample predictions: right ones of each digit, and in red the most confident errors.

    `images` are (N, 28, 28) uint8, `labels` (N,) 0 to 9, `probabilities` (N, 10), or (N, 11) where the last
    class means "not a digit".
    """
    import numpy as np

    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = _find_right_samples(predictions, labels)
    wrong = np.flatnonzero(predictions != labels)
    wrong = wrong[np.argsort(-confidences[wrong], kind="stable")][: MAX_SAMPLE_ROWS * SAMPLE_COLUMNS]
    right_rows, wrong_rows = -(-len(right) // SAMPLE_COLUMNS), -(-len(wrong) // SAMPLE_COLUMNS)
    rows = max(1, right_rows + wrong_rows)
    figure = create_figure(11.0, 1.35 * rows)
    # The wrong predictions start a new row.
    cells = [*enumerate(right), *enumerate(wrong.tolist(), right_rows * SAMPLE_COLUMNS)]
    for cell, index in cells:
        axes = figure.add_subplot(rows, SAMPLE_COLUMNS, cell + 1)
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        prediction, label = int(predictions[index]), int(labels[index])
        title = "no digit" if prediction == 10 else f"read {prediction}"
        if prediction != label:
            title += f", is {label}"
        color = GRAY if prediction == label else RED
        axes.set_title(f"{title}, {confidences[index]:.2f}", fontsize=8, color=color)
        axes.spines[:].set(color=color)
    return encode_figure(figure)


def _find_right_samples(predictions: NDArray[Any], labels: NDArray[Any]) -> list[int]:
    """Return the index of the first image of each digit that was read right, then of the second of each."""
    import numpy as np

    indices = [np.flatnonzero((predictions == digit) & (labels == digit)) for digit in range(10)]
    return [int(found[row]) for row in range(MAX_SAMPLE_ROWS) for found in indices if len(found) > row]
