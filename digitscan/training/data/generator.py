"""Generated datasets: augmented training images, made in other processes while the network trains.

`training.pipeline` creates an `AugmentedDataGenerator`; `training.trainer` takes each epoch's dataset from
it. Making a dataset costs more than an epoch of training, so each serves several epochs, and the next one
is made in the background.

Every generated dataset has an index, which seeds it together with the seed of the run: 0 is the validation
dataset, training datasets count up from 1, and calibration counts down from LAST_DATASET_INDEX. So no image
that the network is trained on, or that its best epoch is chosen by, is drawn again for calibration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.errors import TrainingError
from digitscan.imaging.preprocess import Preprocessed
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.system.process_pool import PoolError, ProcessPool
from digitscan.system.resources import count_usable_cores
from digitscan.training.data.augment import (
    AugmentationConfig,
    augment_as_scanned,
    augment_images,
)
from digitscan.training.data.datasets import (
    NOT_A_DIGIT,
    Dataset,
    ScannedImages,
    Split,
    preprocess_dataset,
)
from digitscan.training.data.distort import apply_random_affine
from digitscan.training.data.pen_strokes import PenStrokes

CALIBRATION_COPIES = 4
"""Augmented copies of each validation image that calibration uses.

A threshold that allows 3 errors in 1,000 is decided by a few images: with one copy, its value changed the
share of `ok` rows by 4 % from one seed to the next.
"""
CALIBRATION_FIELD_COPIES = 4
"""Copies of each validation image in a printed field, to which the threshold for fields is fitted: of the
other copies, too few are in fields to tell 3 errors in 1,000 from 10.
"""
VALIDATION_DATASET_INDEX = 0
FIRST_TRAINING_DATASET_INDEX = 1
LAST_DATASET_INDEX = 999
"""The largest index of a dataset: the seed of a dataset is 1000 times the seed of the run, plus its index."""
CHUNK_SIZE = 1000
"""Images in each task of the process pool."""

_Chunk = TypeVar("_Chunk")
_ScannedChunk = tuple[list[Preprocessed | None], NDArray[np.uint8]]
_MakeScannedChunk = Callable[[Split, NDArray[np.int64], int], _ScannedChunk]


class AugmentedDataGenerator:
    """A context manager that makes the datasets of a training run in a pool of processes.

    `validation` is the dataset that the network is evaluated on after each epoch. All datasets depend on the
    seed, and not on the number of processes: each image is seeded by itself.
    """

    def __init__(
        self,
        train: Dataset,
        val: Dataset,
        seed: int,
        augmentation: AugmentationConfig | None,
        epochs_per_dataset: int,
        first_epoch: int = 0,
        pen_strokes: Mapping[Split, PenStrokes] | None = None,
        other_digits: Mapping[Split, Dataset] | None = None,
    ) -> None:
        """Make the validation dataset, and start to make the training dataset of `first_epoch`.

        `train` and `val` are digits as their source has them, not preprocessed. With `augmentation`, both are
        augmented and negatives are added, some of both drawn from any `pen_strokes`, and of the negatives
        some from any `other_digits`, which the network is not to read. With None, training digits get a
        random affine transform and validation digits are only preprocessed.
        """
        self._train_count, self._val = len(train.images), val
        self._seed, self._augmentation = seed, augmentation
        self._epochs_per_dataset = epochs_per_dataset
        self._pool = ProcessPool(
            count_usable_cores(),
            _initialize_worker,
            ({"train": train, "val": val}, augmentation, pen_strokes or {}, other_digits or {}),
        )
        self._current_index: int | None = None
        self._start = self._end_of_first = time.perf_counter()
        try:
            val_futures = self._submit("val", VALIDATION_DATASET_INDEX, _make_chunk) if augmentation else []
            self._next_futures = self._submit("train", self._dataset_index(first_epoch), _make_chunk)
            for future in self._next_futures:
                future.add_done_callback(self._note_time)
            self.validation = _collect(val_futures) if augmentation else preprocess_dataset(val)
        except BaseException:  # also KeyboardInterrupt: the processes must end before the exception goes on
            self._pool.close()
            raise

    def __enter__(self) -> AugmentedDataGenerator:
        """Return the generator itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._pool.close()

    def load_epoch(self, epoch: int) -> tuple[Dataset, NDArray[np.int64]]:
        """Return the training dataset of an epoch, and a random order of its images.

        Epochs count from 0. They must be taken one after another, starting with `first_epoch`, because the
        next dataset is already being made.
        """
        dataset_index = self._dataset_index(epoch)
        if dataset_index != self._current_index:
            self._current_dataset, self._current_index = _collect(self._next_futures), dataset_index
            self._next_futures = self._submit("train", dataset_index + 1, _make_chunk)
        dataset = self._current_dataset
        return dataset, np.random.default_rng((self._seed, epoch)).permutation(len(dataset.images))

    @property
    def dataset_seconds(self) -> float:
        """How long a training dataset takes to be made, from the first one, which must have been loaded."""
        count = self._count_images("train") + (self._count_images("val") if self._augmentation else 0)
        return (self._end_of_first - self._start) * self._count_images("train") / count

    @property
    def calibration_seconds(self) -> float:
        """How long the images for calibration take to be made, estimated from the first training dataset."""
        if not self._augmentation:
            return 0.0
        copies = CALIBRATION_COPIES + (CALIBRATION_FIELD_COPIES if self._augmentation.printed_fields else 0)
        return self.dataset_seconds * copies * self._count_images("val") / self._count_images("train")

    def _note_time(self, future: Future[Dataset]) -> None:
        self._end_of_first = time.perf_counter()

    def make_calibration_images(self) -> ScannedImages:
        """Return what temperature and thresholds are fitted to: CALIBRATION_COPIES of each validation image.

        They are what a scan of the augmented images would classify. Without augmentation they are the
        validation images, once. No training dataset can be taken afterwards. Raises TrainingError as
        `load_epoch` does.
        """
        for future in self._next_futures:
            future.cancel()
        if not self._augmentation:
            return ScannedImages.of(preprocess_batch(self._val.images), self._val.labels)
        indices = range(LAST_DATASET_INDEX, LAST_DATASET_INDEX - CALIBRATION_COPIES, -1)
        return self._make_scanned_images(indices, _make_scanned_chunk)

    def make_calibration_fields(self) -> ScannedImages | None:
        """Return CALIBRATION_FIELD_COPIES of each validation image in a printed field, as a scan sees them.

        They are not drawn from pen strokes, among which a few have the label of another digit: more of them
        than a threshold for 5 errors in 1,000 may count. None without augmentation, or without fields in it.
        To be called after `make_calibration_images`; raises TrainingError as `load_epoch` does.
        """
        if not self._augmentation or not self._augmentation.printed_fields:
            return None
        first = LAST_DATASET_INDEX - CALIBRATION_COPIES
        return self._make_scanned_images(
            range(first, first - CALIBRATION_FIELD_COPIES, -1), _make_scanned_fields_chunk
        )

    def _make_scanned_images(self, dataset_indices: range, make_chunk: _MakeScannedChunk) -> ScannedImages:
        futures = [future for index in dataset_indices for future in self._submit("val", index, make_chunk)]
        chunks = _wait_for(futures)
        return ScannedImages.of(
            [result for results, _ in chunks for result in results],
            np.concatenate([labels for _, labels in chunks]),
        )

    def _dataset_index(self, epoch: int) -> int:
        return FIRST_TRAINING_DATASET_INDEX + epoch // self._epochs_per_dataset

    def _count_images(self, split: Split) -> int:
        """Return how many images a dataset has: digits and negatives."""
        digit_count = self._train_count if split == "train" else len(self._val.images)
        negatives_per_digit = self._augmentation.negatives if self._augmentation else 0.0
        return digit_count + round(digit_count * negatives_per_digit)

    def _submit(
        self, split: Split, dataset_index: int, make_chunk: Callable[[Split, NDArray[np.int64], int], _Chunk]
    ) -> list[Future[_Chunk]]:
        """Start to make a dataset; return a future for each chunk of it, in order."""
        indices = np.arange(self._count_images(split))
        seed = self._seed * (LAST_DATASET_INDEX + 1) + dataset_index
        return [
            self._pool.submit(make_chunk, split, indices[start : start + CHUNK_SIZE], seed)
            for start in range(0, len(indices), CHUNK_SIZE)
        ]


def _collect(futures: Sequence[Future[Dataset]]) -> Dataset:
    """Return the dataset whose chunks the futures are, when all of them are made."""
    chunks = _wait_for(futures)
    return Dataset(
        np.concatenate([chunk.images for chunk in chunks]),
        np.concatenate([chunk.labels for chunk in chunks]),
    )


def _wait_for(futures: Sequence[Future[_Chunk]]) -> list[_Chunk]:
    """Return the results of all futures. Raises TrainingError where a process had no memory, or ended."""
    try:
        return [future.result() for future in futures]
    except (PoolError, MemoryError) as error:
        reason = str(error) or "not enough memory"
        raise TrainingError(
            f"the processes that make the training images cannot go on ({reason}): free some memory, "
            "then go on with --resume, or start again"
        ) from error


@dataclass(frozen=True)
class _WorkerState:
    """What the tasks of a worker process share. It is sent once to each process, because it is large."""

    digits: Mapping[Split, Dataset]
    augmentation: AugmentationConfig | None
    pen_strokes: Mapping[Split, PenStrokes]
    other_digits: Mapping[Split, Dataset]


_worker_state: _WorkerState


def _initialize_worker(
    digits: Mapping[Split, Dataset],
    augmentation: AugmentationConfig | None,
    pen_strokes: Mapping[Split, PenStrokes],
    other_digits: Mapping[Split, Dataset],
) -> None:
    """Prepare a worker process; the pool calls this before the first task."""
    global _worker_state
    cv2.setNumThreads(1)  # there is a process for each core already
    _worker_state = _WorkerState(digits, augmentation, pen_strokes, other_digits)


def _make_chunk(split: Split, indices: NDArray[np.int64], seed: int) -> Dataset:
    """Return one chunk of a generated dataset; a task of a worker process."""
    digits, augmentation = _worker_state.digits[split], _worker_state.augmentation
    if augmentation is None:
        return Dataset(apply_random_affine(digits.images, indices, seed), digits.labels[indices])
    if split == "val":
        # The best weights are chosen for users' images, which are less like MNIST than weakly augmented ones.
        augmentation = replace(augmentation, weakly_augmented=0.0)
    images = augment_images(
        digits.images, digits.labels, indices, seed, augmentation, split, *_other_sources(split)
    )
    return Dataset(images, _labels(digits, indices))


def _make_scanned_chunk(split: Split, indices: NDArray[np.int64], seed: int) -> _ScannedChunk:
    """Return what a scan of one chunk of augmented images classifies, and the labels."""
    assert _worker_state.augmentation is not None
    return _augment_as_scanned(split, indices, seed, _worker_state.augmentation)


def _make_scanned_fields_chunk(split: Split, indices: NDArray[np.int64], seed: int) -> _ScannedChunk:
    """Return what a scan of one chunk of printed fields classifies, and the labels."""
    assert _worker_state.augmentation is not None
    fields_only = replace(_worker_state.augmentation, printed_fields=1.0, pen_digits=0.0)
    return _augment_as_scanned(split, indices, seed, fields_only)


def _augment_as_scanned(
    split: Split, indices: NDArray[np.int64], seed: int, augmentation: AugmentationConfig
) -> _ScannedChunk:
    digits = _worker_state.digits[split]
    results = augment_as_scanned(
        digits.images, digits.labels, indices, seed, augmentation, split, *_other_sources(split)
    )
    return results, _labels(digits, indices)


def _other_sources(split: Split) -> tuple[PenStrokes | None, Dataset | None]:
    """Return the pen strokes, and the digits that the network is not to read."""
    return _worker_state.pen_strokes.get(split), _worker_state.other_digits.get(split)


def _labels(digits: Dataset, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the labels of indices, of which those that are no index of a digit stand for negatives."""
    is_digit = indices < len(digits.labels)
    labels = np.full(len(indices), NOT_A_DIGIT, np.uint8)
    labels[is_digit] = digits.labels[indices[is_digit]]
    return labels
