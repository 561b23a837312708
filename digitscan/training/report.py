"""What a training run tells its user: its log, the results on the test images, and the plots."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from errno import EEXIST
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import OutputError
from digitscan.evaluation.metrics import count_confusions
from digitscan.model.model_files import BUNDLED_MODELS, DEFAULT_PATH, resolve_model
from digitscan.system.files import write_atomic
from digitscan.system.log import log as log_to_stderr
from digitscan.training.data.datasets import Dataset
from digitscan.training.trainer import Metrics

Log = Callable[[str], object]
"""Takes a line for the user."""


def create_log(quiet: bool) -> Log:
    """Return the log of a run: stderr, or nothing."""
    return (lambda message: None) if quiet else log_to_stderr


@contextlib.contextmanager
def show_activity(text: str, quiet: bool) -> Iterator[None]:
    """Show on a terminal, while the block runs, that something happens; elsewhere log it."""
    if quiet or not sys.stderr.isatty():
        create_log(quiet)(f"{text} ...")
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


class Confusion(NamedTuple):
    """How many images of the digit `label` were read as another class; class 10 is "not a digit"."""

    label: int
    prediction: int
    image_count: int

    def __str__(self) -> str:
        name = "no digit" if self.prediction == 10 else str(self.prediction)
        return f"{self.label} read as {name} ({self.image_count})"


def log_test_results(metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64], log: Log) -> None:
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
    counts = count_confusions(labels, predictions)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:max_count]
    cells = [(int(index // 11), int(index % 11)) for index in order.tolist()]
    return [Confusion(*cell, int(counts[cell])) for cell in cells if counts[cell] > 0]


def log_output(output: Path, wanted: Path, log: Log) -> None:
    """Log where the model is, and why it is not where it was wanted, if so."""
    if output != wanted:
        log(f"{wanted} was made by somebody else during the training, and stays as it is.")
    log(f"Model: {output}")
    log(describe_next_scan(output))


def describe_next_scan(output: Path) -> str:
    """Return a line on which model `digitscan scan` uses from now on in this folder."""
    if output != DEFAULT_PATH:
        return f"To read with it: digitscan scan FOLDER --model {shlex.quote(str(output))}"
    resolved = resolve_model()
    if resolved.is_bundled:
        return f"digitscan scan reads with the bundled {resolved.name}: {resolved.message}"
    return f"digitscan scan reads with it from now on in this folder, without --model {BUNDLED_MODELS[0]}."


def write_plots(pngs: Mapping[str, bytes], folder: Path, overwrite: bool) -> None:
    """Write the plots of a run into a folder, which is created where it is missing.

    A file that exists is replaced only with `overwrite`; a link is never followed. Raises OutputError.
    """
    for name, png in pngs.items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, png, partial(_check_replaceable, path, overwrite))
        except OSError as error:
            raise OutputError(
                f"the model is saved, but the plot {path} cannot be written: {error.strerror or error}"
            ) from error


def _check_replaceable(path: Path, overwrite: bool) -> None:
    """Raise FileExistsError for a file that was made while the network was trained."""
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(EEXIST, os.strerror(EEXIST))
