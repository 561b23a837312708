"""What a network learns from: a new set of examples every few epochs, as the model sees them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from digitscan.system.resources import usable_cores
from digitscan.system.signals import defer_signals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.training.data.augment import AugmentationConfig
from digitscan.training.data.datasets import Dataset, preprocess_dataset

CALIBRATION_VIEWS = 4
"""So many augmentations of each validation image: a threshold at 3 in 1,000 hangs on few wrong ones."""


LAST_ROUND = 999
"""A round's number seeds its pictures: training counts from 1 up, calibration from here down."""


class AugmentedDataGenerator:
    """Sets of training examples, made in other processes while the one before is learned.

    Every image's changes are seeded by the round and its index: the same for any number of processes.
    """

    def __init__(
        self,
        train: Dataset,
        val: Dataset,
        seed: int,
        augmentation: AugmentationConfig | None,
        epochs_per_dataset: int,
        first_epoch: int = 0,
    ) -> None:
        """Start to make the validation examples and the first epoch's round; each serves some epochs.

        With an augmentation: as users' pictures differ, with pictures that are no digit; without: digits
        only, slightly slanted, and validated as they are.
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        self._train, self._seed, self._augmentation = train, seed, augmentation
        self._epochs_per_dataset = epochs_per_dataset
        # Spawned, because TensorFlow's threads would not survive a fork.
        self._pool = ProcessPoolExecutor(
            max_workers=usable_cores(),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_share,
            initargs=(train, val, augmentation),
        )
        self._val = len(val.images)
        try:
            waiting = self._submit(False, self._val, 0) if augmentation else []
            self._round = 0
            self._next = self._submit(True, len(train.images), 1 + first_epoch // epochs_per_dataset)
            self.validation = _gather(waiting) if augmentation else preprocess_dataset(val)
        except BaseException:  # interrupted: what is not begun need not be waited for
            self.__exit__()
            raise

    def __enter__(self) -> AugmentedDataGenerator:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, epoch: int) -> tuple[Dataset, NDArray[np.int64]]:
        """Return the examples of an epoch, and the random order to learn them in.

        Epochs are counted from 0, and asked for in order from the first on.
        """
        import numpy as np

        number = 1 + epoch // self._epochs_per_dataset
        if number != self._round:
            self._round, self._now = number, _gather(self._next)
            self._next = self._submit(True, len(self._train.images), number + 1)
        return self._now, np.random.default_rng((self._seed, epoch)).permutation(len(self._now.images))

    def calibration(self) -> Dataset:
        """Return what confidence and thresholds are fitted to: the validation images, in several views."""
        if not self._augmentation:
            return self.validation
        for part in self._next:  # nothing more is learned
            part.cancel()
        numbers = range(LAST_ROUND, LAST_ROUND - CALIBRATION_VIEWS + 1, -1)
        waiting = [part for number in numbers for part in self._submit(False, self._val, number)]
        return _joined([self.validation, *(part.result() for part in waiting)])

    def _submit(self, learning: bool, digits: int, round_number: int) -> list[Any]:
        import numpy as np

        others = self._augmentation.non_digits if self._augmentation else 0.0
        indices = np.arange(digits + round(digits * others))
        seed = self._seed * 1000 + round_number
        make = _augment if self._augmentation else _slant
        with (
            defer_signals(),
            _deaf_to_interrupts(),
        ):  # here processes start; half started they would say so at length
            return [
                self._pool.submit(make, learning, indices[start : start + 1000], seed)
                for start in range(0, len(indices), 1000)
            ]


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that start be deaf to Ctrl-C, which a terminal sends to all, until they ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gather(waiting: list[Any]) -> Dataset:
    return _joined([part.result() for part in waiting])


def _joined(parts: list[Dataset]) -> Dataset:
    import numpy as np

    return Dataset(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


_shared: dict[str, Any] = {}


def _share(train: Dataset, val: Dataset, augmentation: AugmentationConfig | None) -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to answer
    cv2.setNumThreads(1)
    _shared.update(examples=[val, train], augmentation=augmentation)


def _augment(learning: bool, indices: NDArray[Any], seed: int) -> Dataset:
    import numpy as np

    from digitscan.training.data.augment import NOT_A_DIGIT, augment_images

    source = _shared["examples"][learning]
    labels = np.full(len(indices), NOT_A_DIGIT, np.uint8)
    digits = indices < len(source.labels)
    labels[digits] = source.labels[indices[digits]]
    # What users have is no gentler than the rest: confidence is fitted to that.
    what = _shared["augmentation"] if learning else replace(_shared["augmentation"], gentle=0.0)
    seen = augment_images(source.images, source.labels, indices, seed, what, learning)
    return Dataset(seen, labels)


def _slant(learning: bool, indices: NDArray[Any], seed: int) -> Dataset:
    from digitscan.training.data.augment import slant_images

    source = _shared["examples"][learning]
    return Dataset(slant_images(source.images, indices, seed), source.labels[indices])
