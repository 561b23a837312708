"""Pictures of a training run: how it went, what the network reads right and wrong.

Drawn without pyplot, so that no window system is asked for and nothing is left behind. The files hold no
date and no version: the same figures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COLUMNS = 10
MAX_ROWS = 2
"""Rows of samples, at most: of those read right, and of those read wrong."""
BLUE, ORANGE, RED, GRAY = "#1f6fb4", "#d9730d", "#c62828", "#555555"


def plot_training(history: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Write `accuracy_plot.png` and `loss_plot.png`: training and validation, epoch by epoch.

    `history` holds `accuracy` and `val_accuracy` (0..1), `loss` and `val_loss`, one value an epoch.
    Raises OutputError.
    """
    for quantity in ("accuracy", "loss"):
        figure = _figure(6.4, 4.0)
        axes = figure.add_subplot()
        training, validation = history[quantity], history[f"val_{quantity}"]
        epochs = range(1, len(training) + 1)
        axes.plot(epochs, training, color=BLUE, marker=".", label="training")
        axes.plot(epochs, validation, color=ORANGE, marker=".", label="validation")
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.locator_params(axis="x", integer=True, steps=[1, 2, 5, 10])
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        _write(figure, folder / f"{quantity}_plot.png")


def plot_sample_predictions(
    images: NDArray[np.uint8], labels: NDArray[Any], probabilities: NDArray[Any], folder: Path
) -> None:
    """Write `sample_predictions.png`: each digit read right, then in red the surest of those read wrong.

    `images` is (N, 28, 28) uint8, `labels` (N,) 0..9, `probabilities` (N, 10), or (N, 11) where the last
    means "not a digit". Raises OutputError.
    """
    import numpy as np

    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = _one_of_each(answers, labels)
    wrong = np.flatnonzero(answers != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][: MAX_ROWS * COLUMNS]
    rows_right, rows_wrong = -(-len(right) // COLUMNS), -(-len(wrong) // COLUMNS)
    rows = max(1, rows_right + rows_wrong)
    figure = _figure(11.0, 1.35 * rows)
    # Those read wrong begin a row of their own.
    cells = [*enumerate(right), *enumerate(wrong.tolist(), rows_right * COLUMNS)]
    for cell, index in cells:
        axes = figure.add_subplot(rows, COLUMNS, cell + 1)
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        answer, label = int(answers[index]), int(labels[index])
        words = "no digit" if answer == 10 else f"read {answer}"
        if answer != label:
            words += f", is {label}"
        colour = GRAY if answer == label else RED
        axes.set_title(f"{words}, {confidence[index]:.2f}", fontsize=8, color=colour)
        axes.spines[:].set(color=colour)
    _write(figure, folder / "sample_predictions.png")


def plot_confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], folder: Path) -> None:
    """Write `confusion_matrix.png`: how often each digit was read as which; the mistakes give the scale.

    `labels` are (N,) 0..9; `predicted` are (N,) 0..9, or 10 where the digit was refused as not a digit.
    Raises OutputError.
    """
    import numpy as np

    names = [*map(str, range(10)), *(["no digit"] if (predicted == 10).any() else [])]
    counts = np.zeros((10, len(names)), np.int64)
    np.add.at(counts, (labels.astype(np.intp), predicted.astype(np.intp)), 1)
    right = np.eye(10, len(names), dtype=bool)
    mistakes = np.where(right, 0, counts)
    worst = max(1, int(mistakes.max()))
    figure = _figure(6.4, 6.0)
    axes = figure.add_subplot()
    axes.imshow(np.ma.masked_array(mistakes, right), cmap="Reds", vmin=0, vmax=worst)
    axes.imshow(np.ma.masked_array(counts, ~right), cmap="Blues", vmin=0, vmax=2 * max(1, int(counts.max())))
    for label, read in np.argwhere(counts > 0).tolist():
        white = label != read and mistakes[label, read] > 0.6 * worst
        colour = "white" if white else "black"
        axes.text(read, label, f"{counts[label, read]:,}", ha="center", va="center", color=colour, fontsize=9)
    wrong = int(mistakes.sum())
    axes.set(
        xlabel="read as",
        ylabel="is",
        xticks=range(len(names)),
        xticklabels=names,
        yticks=range(10),
        title=f"{wrong:,} of {len(labels):,} read wrong",
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _write(figure, folder / "confusion_matrix.png")


def _one_of_each(answers: NDArray[Any], labels: NDArray[Any]) -> list[int]:
    """Return the places of the first image of each digit that was read right, then of the second."""
    import numpy as np

    places = [np.flatnonzero((answers == digit) & (labels == digit)) for digit in range(10)]
    return [int(those[row]) for row in range(MAX_ROWS) for those in places if len(those) > row]


def _figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches that the Agg renderer draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; choose another folder with --plots"
        ) from error
