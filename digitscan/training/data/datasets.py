"""Sets of images with their labels, as a network learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """Images as the model sees them, (N, 28, 28) uint8, and their labels (N,), 10 for not a digit."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def preprocess_dataset(examples: Dataset) -> Dataset:
    """Return the examples as the model sees them; where there is no digit to look at, the image is black."""
    import numpy as np

    from digitscan.imaging.preprocess_batch import preprocess_batch

    seen = np.zeros(examples.images.shape, np.uint8)
    for place, looked in enumerate(preprocess_batch(examples.images)):
        if looked.pixels is not None:
            seen[place] = looked.pixels
    return Dataset(seen, examples.labels)


VALIDATION_SHARE = 1 / 12
"""Of the training images: 5,000 of MNIST's 60,000."""


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Dataset, Dataset]:
    """Return the training images to learn from, and those kept for validation.

    The same for any seed, so that no teacher has learned what its pupil is validated on.
    """
    import numpy as np

    order = np.random.default_rng(1).permutation(len(images))
    held_back = max(10, round(len(order) * VALIDATION_SHARE))
    train, val = order[held_back:], order[:held_back]
    return Dataset(images[train], labels[train]), Dataset(images[val], labels[val])
