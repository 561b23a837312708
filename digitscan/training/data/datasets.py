"""Labelled images in memory, and how the training images are split for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.preprocess import Preprocessed
from digitscan.imaging.preprocess_batch import preprocess_batch

NOT_A_DIGIT = 10
"""The label of negatives: images that are not a digit."""

VALIDATION_SHARE = 1 / 12
"""The share of the training images that is kept for validation: 5,000 of MNIST's 60,000."""
MIN_VALIDATION_IMAGES = 10
_SPLIT_SEED = 1

Split = Literal["train", "val"]
"""Which part of the data: the network is fitted to `train`; early stopping and calibration use `val`."""


@dataclass(frozen=True)
class Dataset:
    """Images and their labels.

    `images` are (N, 28, 28) uint8, light ink on black: digits as a source has them, or the output of
    `preprocess`, as a network takes them. `labels` are (N,) uint8, 0 to 9 or NOT_A_DIGIT.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class ScannedImages:
    """Labelled images as a scan classifies them: with all candidates of preprocessing, and its findings."""

    results: list[Preprocessed]
    """What `preprocess` returned for each image; all have `pixels`."""
    labels: NDArray[np.uint8]
    """(N,) uint8, 0 to 9 or NOT_A_DIGIT."""

    @classmethod
    def of(cls, results: Sequence[Preprocessed | None], labels: NDArray[np.uint8]) -> ScannedImages:
        """Return those images in which preprocessing found a digit: a scan classifies no others."""
        kept = [result for result in results if result is not None and result.pixels is not None]
        is_kept = np.array([result is not None and result.pixels is not None for result in results], bool)
        return cls(kept, labels[is_kept])


@dataclass(frozen=True)
class TrainTestData:
    """The digits of one source, divided into training and test images.

    `x_train` and `x_test` are (N, 28, 28) uint8, light ink on black; `y_train` and `y_test` are their labels,
    (N,) uint8, 0 to 9.
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.uint8]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.uint8]


def find_missing_digits(labels: NDArray[np.uint8]) -> list[int]:
    """Return the digits, 0 to 9, that no label (N,) names."""
    return np.flatnonzero(np.bincount(labels, minlength=NOT_A_DIGIT)[:NOT_A_DIGIT] == 0).tolist()


def select_digits(dataset: Dataset, digits: Sequence[int]) -> Dataset:
    """Return those images of a dataset whose labels are among `digits`."""
    chosen = np.isin(dataset.labels, digits)
    return Dataset(dataset.images[chosen], dataset.labels[chosen])


def preprocess_dataset(dataset: Dataset) -> Dataset:
    """Return the dataset with preprocessed images. An image in which no digit is found becomes black."""
    pixels = np.zeros(dataset.images.shape, np.uint8)
    for index, preprocessed in enumerate(preprocess_batch(dataset.images)):
        if preprocessed.pixels is not None:
            pixels[index] = preprocessed.pixels
    return Dataset(pixels, dataset.labels)


def split_train_val(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Dataset, Dataset]:
    """Return the training and the validation dataset, divided at random.

    The division does not depend on the seed of the run. Otherwise a distilled network could be validated on
    images that its teacher was trained on.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    val_count = max(MIN_VALIDATION_IMAGES, round(len(order) * VALIDATION_SHARE))
    train, val = order[val_count:], order[:val_count]
    return Dataset(images[train], labels[train]), Dataset(images[val], labels[val])
