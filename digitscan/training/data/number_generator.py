"""Generated datasets of numbers: lines as the line network sees them, made in other processes.

As in `generator`, each dataset serves several epochs, while the next one is made in the background; every
picture is seeded by its index, the dataset's index and the seed of the run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from digitscan.errors import TrainingError
from digitscan.imaging.line_image import LineImage, preprocess_line
from digitscan.imaging.types import GrayImage
from digitscan.system.process_pool import PoolError, ProcessPool
from digitscan.system.resources import count_usable_cores
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.number_drawing import HandwritingSources
from digitscan.training.data.number_paper import draw_number_picture
from digitscan.training.data.pen_strokes import PenStrokes

CHUNK_SIZE = 250
"""Pictures in each task of the process pool."""

_VALIDATION_INDEX, _FIRST_TRAINING_INDEX, _TEST_INDEX, _CALIBRATION_INDEX = 0, 1, 998, 999
_PICTURES_PER_DATASET = 1_000_000
"""More than any dataset has: pictures of two datasets never have the same seed."""

NumberSplit = Literal["train", "val", "test"]
"""Which digits numbers are composed of; those of `test` influence nothing."""


class LabelledLine(NamedTuple):
    """A line and what is written in it."""

    pixels: GrayImage
    """(LINE_HEIGHT, W) uint8, as in LineImage."""
    symbols: tuple[int, ...]
    """The symbols of `model.ctc` in order, without blanks; empty where no number is written."""


@dataclass(frozen=True)
class LineCounts:
    """How many lines a run composes for each purpose."""

    train: int = 16_000
    """Of each dataset, which serves several epochs."""
    val: int = 3000
    """Those that the network is evaluated on after each epoch."""
    calibration: int = 12_000
    """Those that temperature and threshold are fitted to."""
    test: int = 3000
    """Those composed of the test digits."""


@dataclass(frozen=True)
class NumberSources:
    """What the numbers of a run are composed of: digits and pen strokes of each split."""

    digits: Mapping[NumberSplit, Dataset]
    pen_strokes: Mapping[NumberSplit, PenStrokes]


DEFAULT_COUNTS = LineCounts()


class NumberDataGenerator:
    """A context manager that makes the datasets of lines of a training run in a pool of processes.

    `validation` are the lines that the network is evaluated on after each epoch: numbers composed of the
    validation digits, fonts and writers.
    """

    def __init__(
        self,
        sources: NumberSources,
        seed: int,
        epochs_per_dataset: int,
        first_epoch: int = 0,
        counts: LineCounts = DEFAULT_COUNTS,
    ) -> None:
        """Make the validation dataset, and start to make the training dataset of `first_epoch`."""
        self._seed, self._counts, self._epochs_per_dataset = seed, counts, epochs_per_dataset
        self._pool = ProcessPool(count_usable_cores(), _initialize_worker, (sources,))
        self._current_index: int | None = None
        start = time.perf_counter()
        try:
            self.validation = _collect(self._submit("val", _VALIDATION_INDEX, counts.val))
            seconds_per_line = (time.perf_counter() - start) / counts.val
            self.dataset_seconds = seconds_per_line * counts.train
            self.calibration_seconds = seconds_per_line * (counts.calibration + counts.test)
            self._next = self._submit("train", self._dataset_index(first_epoch), counts.train)
        except BaseException:  # also KeyboardInterrupt: the processes must end before the exception goes on
            self._pool.close()
            raise

    def __enter__(self) -> NumberDataGenerator:
        """Return the generator itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._pool.close()

    def load_epoch(self, epoch: int) -> Sequence[LabelledLine]:
        """Return the lines of an epoch. Epochs count from 0, and must be taken one after another."""
        index = self._dataset_index(epoch)
        if index != self._current_index:
            self._current, self._current_index = _collect(self._next), index
            self._next = self._submit("train", index + 1, self._counts.train)
        return self._current

    def make_calibration_lines(self) -> Sequence[LabelledLine]:
        """Return lines of the validation sources that the network was not evaluated on.

        No training dataset can be taken afterwards. Raises TrainingError as `load_epoch` does.
        """
        for future in self._next:
            future.cancel()
        return _collect(self._submit("val", _CALIBRATION_INDEX, self._counts.calibration))

    def make_test_lines(self) -> Sequence[LabelledLine]:
        """Return numbers composed of the test digits, after the lines for calibration."""
        return _collect(self._submit("test", _TEST_INDEX, self._counts.test))

    def _dataset_index(self, epoch: int) -> int:
        return _FIRST_TRAINING_INDEX + epoch // self._epochs_per_dataset

    def _submit(self, split: NumberSplit, dataset_index: int, count: int) -> list[Future[list[LabelledLine]]]:
        """Start to make a dataset; return a future for each chunk of it, in order."""
        first = (self._seed * (_CALIBRATION_INDEX + 1) + dataset_index) * _PICTURES_PER_DATASET
        return [
            self._pool.submit(_make_lines, split, first + start, min(CHUNK_SIZE, count - start))
            for start in range(0, count, CHUNK_SIZE)
        ]


def _collect(futures: Sequence[Future[list[LabelledLine]]]) -> list[LabelledLine]:
    """Return the lines of all chunks. Raises TrainingError where a process had no memory, or ended."""
    try:
        return [line for future in futures for line in future.result()]
    except (PoolError, MemoryError) as error:
        reason = str(error) or "not enough memory"
        raise TrainingError(
            f"the processes that make the training lines cannot go on ({reason}): free some memory, "
            "then go on with --resume, or start again"
        ) from error


_sources: dict[NumberSplit, HandwritingSources]


def _initialize_worker(sources: NumberSources) -> None:
    """Prepare a worker process; the pool calls this before the first task."""
    global _sources
    cv2.setNumThreads(1)  # there is a process for each core already
    _sources = {
        split: HandwritingSources.of(
            digits,
            load_font_glyphs("train" if split == "train" else "val"),
            sources.pen_strokes.get(split),
        )
        for split, digits in sources.digits.items()
    }


def _make_lines(split: NumberSplit, first_seed: int, count: int) -> list[LabelledLine]:
    """Return the lines of `count` pictures, without those that preprocessing rejects: a worker's task."""
    lines = []
    for seed in range(first_seed, first_seed + count):
        picture = draw_number_picture(_sources[split], np.random.default_rng(seed))
        line: LineImage = preprocess_line(picture.picture)
        if line.pixels is not None:
            lines.append(LabelledLine(line.pixels, picture.symbols))
    return lines
