"""What a network learns from: a new set of examples every second epoch, as the model sees them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCHS_A_ROUND = 2
"""Making a round costs as much as learning from it, so each is used twice."""
NON_DIGIT_SHARE = 0.25
"""Pictures of no digit for each digit that the CNN learns from."""


@dataclass(frozen=True)
class Examples:
    """Images as the model sees them, (N, 28, 28) uint8, and their labels (N,), 10 for not a digit."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def preprocess_all(examples: Examples) -> Examples:
    """Return the examples as the model sees them; where there is no digit to look at, the image is black."""
    import numpy as np

    from digitscan.preprocess import preprocess

    seen = np.zeros(examples.images.shape, np.uint8)
    for place, image in enumerate(examples.images):
        pixels = preprocess(image).pixels
        if pixels is not None:
            seen[place] = pixels
    return Examples(seen, examples.labels)


class Rounds:
    """Sets of training examples, made in other processes while the one before is learned.

    Every image's changes are seeded by the round and its index: the same for any number of processes.
    """

    def __init__(self, learned: Examples, checked: Examples, seed: int, augmented: bool) -> None:
        """Start to make the validation examples and the first round.

        `augmented`: as users' pictures differ, with pictures that are no digit; otherwise digits only,
        slightly slanted, and validated as they are.
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        self._learned, self._seed, self._augmented = learned, seed, augmented
        # Spawned, because TensorFlow's threads would not survive a fork.
        self._pool = ProcessPoolExecutor(
            max_workers=os.cpu_count(),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_share,
            initargs=(learned, checked),
        )
        waiting = self._submit(False, len(checked.images), 0) if augmented else []
        self._next = self._submit(True, len(learned.images), 1)
        self.validation = _gather(waiting) if augmented else preprocess_all(checked)

    def __enter__(self) -> Rounds:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, epoch: int) -> Examples:
        """Return the examples of an epoch, counted from 0, in a random order of their own."""
        import numpy as np

        if epoch % EPOCHS_A_ROUND == 0:
            self._now = _gather(self._next)
            self._next = self._submit(True, len(self._learned.images), 2 + epoch // EPOCHS_A_ROUND)
        examples = self._now
        order = np.random.default_rng((self._seed, epoch)).permutation(len(examples.images))
        return Examples(examples.images[order], examples.labels[order])

    def _submit(self, learning: bool, digits: int, round_number: int) -> list[Any]:
        import numpy as np

        indices = np.arange(digits + round(digits * NON_DIGIT_SHARE * self._augmented))
        seed = self._seed * 1000 + round_number
        make = _augment if self._augmented else _slant
        return [
            self._pool.submit(make, learning, indices[start : start + 1000], seed)
            for start in range(0, len(indices), 1000)
        ]


def _gather(waiting: list[Any]) -> Examples:
    import numpy as np

    parts = [part.result() for part in waiting]
    return Examples(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


_shared: list[Examples] = []


def _share(learned: Examples, checked: Examples) -> None:
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to answer
    cv2.setNumThreads(1)
    _shared[:] = [checked, learned]


def _augment(learning: bool, indices: NDArray[Any], seed: int) -> Examples:
    import numpy as np

    from digitscan.augment import NOT_A_DIGIT, augmented

    source = _shared[learning]
    labels = np.full(len(indices), NOT_A_DIGIT, np.uint8)
    digits = indices < len(source.labels)
    labels[digits] = source.labels[indices[digits]]
    return Examples(augmented(source.images, source.labels, indices, seed), labels)


def _slant(learning: bool, indices: NDArray[Any], seed: int) -> Examples:
    from digitscan.augment import slanted

    source = _shared[learning]
    return Examples(slanted(source.images, indices, seed), source.labels[indices])
