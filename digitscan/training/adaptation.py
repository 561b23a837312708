"""Adapt a network's last layer to corrections, and measure that on corrections it has not learned.

Each fifth of the corrections is held out in turn. They weigh as much as MNIST's validation images allow; see
`last_layer` for what is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.augment import AugmentationConfig, augment_images
from digitscan.training.data.datasets import Dataset
from digitscan.training.last_layer import (
    Features,
    LabelledFeatures,
    Weights,
    add_ones,
    compute_probabilities,
    fit_last_layer,
)
from digitscan.training.trainer import EVALUATION_BATCH_SIZE, to_model_input

CORRECTION_DRAWINGS = 600
"""Drawings of all corrections together; of few corrections, at most MAX_COPIES of each."""
MAX_COPIES = 20
FOLD_COUNT = 5
"""Each of these parts of the corrections is held out in turn."""
FULL_WEIGHT_CORRECTIONS = 300
"""From so many corrections on, they weigh as much as the rehearsal; fewer weigh less in proportion."""
WEIGHT_FACTORS = (1.0, 0.3, 0.1, 0.03)
"""The shares of that weight that are tried, until MNIST's validation images allow one."""
MAX_MNIST_FALL = 0.0005
"""The most by which the accuracy on MNIST's validation images may fall."""


@dataclass(frozen=True)
class Adaptation:
    """What became of a network's answers."""

    right_before: int
    """The corrections that it read right."""
    right_after: int
    """The corrections that it reads right when it has learned the others."""
    is_mnist_kept: bool
    """Whether MNIST's validation images are read as well as before, but for MAX_MNIST_FALL."""


def adapt_last_layer(
    keras_model: Any, corrections: Dataset, rehearsal: Dataset, val: Dataset, seed: int
) -> Adaptation:
    """Change the last layer of a Keras model so that it learns the corrections; return what that gave.

    The layer is dense with softmax. All datasets are preprocessed; there are at least two corrections.
    `rehearsal` are images whose answers are to stay, `val` are MNIST's validation images.
    """
    import keras

    layer = keras_model.layers[-1]
    extractor = keras.Model(keras_model.inputs, layer.input)
    kernel, bias = layer.get_weights()
    first = np.vstack([kernel, bias[None]])
    rehearsed = _extract(extractor, rehearsal.images)
    fitting = _Fitting(
        first,
        LabelledFeatures(rehearsed, compute_probabilities(rehearsed, first)),
        *_draw(extractor, corrections, seed),
        corrections.labels,
    )
    val_features = _extract(extractor, val.images)
    min_right = _count_right(val_features, val.labels, first) - MAX_MNIST_FALL * len(val.labels)
    count = len(corrections.labels)
    for factor in WEIGHT_FACTORS:
        weight = factor * min(1.0, count / FULL_WEIGHT_CORRECTIONS)
        weights = fitting.fit(np.ones(count, bool), weight)
        is_mnist_kept = _count_right(val_features, val.labels, weights) >= min_right
        if is_mnist_kept:
            break
    layer.set_weights([weights[:-1], weights[-1]])
    features = _extract(extractor, corrections.images)
    return Adaptation(
        _count_right(features, corrections.labels, first),
        _cross_validate(fitting, features, weight, seed),
        is_mnist_kept,
    )


@dataclass(frozen=True)
class _Fitting:
    """What the last layer is fitted to."""

    first: Weights
    rehearsal: LabelledFeatures
    drawings: Features
    """The features of the corrections' drawings."""
    drawn_from: NDArray[np.int64]
    """The correction that each of them was drawn from."""
    labels: NDArray[np.uint8]
    """The corrections' labels."""

    def fit(self, is_learned: NDArray[np.bool_], weight: float) -> Weights:
        """Return weights that have learned some of the corrections, by a mask."""
        chosen = is_learned[self.drawn_from]
        targets = np.eye(self.first.shape[1], dtype=np.float32)[self.labels[self.drawn_from[chosen]]]
        corrections = LabelledFeatures(self.drawings[chosen], targets)
        return fit_last_layer(self.first, self.rehearsal, corrections, weight)


def _cross_validate(fitting: _Fitting, features: Features, weight: float, seed: int) -> int:
    """Return how many corrections, with these features, weights read right that have learned the others."""
    labels = fitting.labels
    fold = np.random.default_rng(seed).permutation(len(labels)) % min(FOLD_COUNT, len(labels))
    return sum(
        _count_right(features[fold == index], labels[fold == index], fitting.fit(fold != index, weight))
        for index in range(fold.max() + 1)
    )


def _draw(extractor: Any, corrections: Dataset, seed: int) -> tuple[Features, NDArray[np.int64]]:
    """Return the features of slightly distorted drawings, and the correction that each was drawn from."""
    count = len(corrections.labels)
    copies = min(MAX_COPIES, max(1, CORRECTION_DRAWINGS // count))
    weakly = AugmentationConfig(weakly_augmented=1.0)
    indices = np.arange(count)
    images = np.concatenate(
        [
            augment_images(corrections.images, corrections.labels, indices, seed + copy, weakly)
            for copy in range(copies)
        ]
    )
    is_drawn = images.any(axis=(1, 2))
    return _extract(extractor, images[is_drawn]), np.tile(indices, copies)[is_drawn]


def _extract(extractor: Any, images: NDArray[np.uint8]) -> Features:
    starts = range(0, len(images), EVALUATION_BATCH_SIZE)
    batches = (images[start : start + EVALUATION_BATCH_SIZE] for start in starts)
    return add_ones(
        np.concatenate([np.asarray(extractor(to_model_input(batch), training=False)) for batch in batches])
    )


def _count_right(features: Features, labels: NDArray[np.uint8], weights: Weights) -> int:
    return int(np.count_nonzero((features @ weights).argmax(axis=1) == labels))
