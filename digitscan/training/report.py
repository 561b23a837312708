"""What a training run tells its user at the end: the results on the test images, and the plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.datasets import Dataset
from digitscan.training.plots import plot_confusion_matrix, plot_sample_predictions, plot_training
from digitscan.training.trainer import Metrics


class Confusion(NamedTuple):
    """How many images of the digit `label` were read as another class; class 10 is "not a digit"."""

    label: int
    prediction: int
    image_count: int

    def __str__(self) -> str:
        name = "no digit" if self.prediction == 10 else str(self.prediction)
        return f"{self.label} read as {name} ({self.image_count})"


def log_test_results(
    metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64], log: Callable[[str], object]
) -> None:
    """Log the metrics of the test images and the most frequent confusions among them.

    `probabilities` are (N, 10) or (N, 11), for the N test images.
    """
    log(
        f"Test accuracy {100 * metrics.accuracy:.2f} %, loss {metrics.loss:.4f}, "
        f"on {len(test.labels):,} images that influenced nothing."
    )
    confusions = find_confusions(test.labels, probabilities.argmax(axis=1))
    if confusions:
        log("Most confused: " + ", ".join(map(str, confusions)) + ".")


def find_confusions(labels: NDArray[Any], predictions: NDArray[Any], max_count: int = 5) -> list[Confusion]:
    """Return the most frequent confusions, the most frequent first.

    `labels` (N,) are 0 to 9; `predictions` (N,) are 0 to 9, or 10 for "not a digit".
    """
    counts = np.zeros((10, 11), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:max_count]
    cells = [(int(index // 11), int(index % 11)) for index in order.tolist()]
    return [Confusion(*cell, int(counts[cell])) for cell in cells if counts[cell] > 0]


def draw_plots(
    history: Mapping[str, list[float]], test: Dataset, probabilities: NDArray[np.float64], folder: Path
) -> None:
    """Draw the plots of a run into a folder, which is created where it is missing. Raises OutputError."""
    folder.mkdir(parents=True, exist_ok=True)
    plot_training(history, folder)
    plot_sample_predictions(test.images, test.labels, probabilities, folder)
    plot_confusion_matrix(test.labels, probabilities.argmax(axis=1), folder)
