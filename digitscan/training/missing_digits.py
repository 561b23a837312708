"""Training data that lack some of the ten digits.

A network that never saw a 7 must not be sure that a 7 is a 1. So one with a class "not a digit" learns from
the bundled MNIST that the digits it lacks are none, no network ever answers such a digit, and the rows of one
without that class are all `review`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.datasets import (
    NOT_A_DIGIT,
    Dataset,
    Split,
    find_missing_digits,
    select_digits,
    split_train_val,
)
from digitscan.training.data.sources import load_data

MIN_DIGIT_IMAGES = 20
"""With fewer training images of a digit, the user is told before the training."""
EXCLUDED_BIAS = -30.0
"""The logit of a digit that is never answered. One far lower would cost the others precision in int8."""


def load_other_digits(missing: Sequence[int]) -> Mapping[Split, Dataset]:
    """Return MNIST's digits of these labels, for training and for validation; nothing for no labels."""
    if not missing:
        return {}
    data = load_data(None)
    train, val = split_train_val(data.x_train, data.y_train)
    return {"train": select_digits(train, missing), "val": select_digits(val, missing)}


def exclude_digits(keras_model: Any, digits: Sequence[int]) -> None:
    """Change the last layer of a network, which is dense with softmax, so that it never answers `digits`."""
    if not digits:
        return
    output_layer = keras_model.layers[-1]
    kernel, bias = output_layer.get_weights()
    kernel[:, digits], bias[digits] = 0.0, EXCLUDED_BIAS
    output_layer.set_weights([kernel, bias])


def describe_digits(labels: NDArray[np.uint8], has_negatives: bool) -> list[str]:
    """Return lines for the user on the digits of which there are no training images, or few.

    `labels` (N,) are those of the training images. `has_negatives` is whether the network has a class "not a
    digit".
    """
    lines = []
    missing = find_missing_digits(labels)
    if missing:
        effect = (
            "the network learns that they are no digits"
            if has_negatives
            else "this network cannot tell that they are others, so all rows of a scan will be review"
        )
        lines.append(f"There are no training images of {join_digits(missing)}: {effect}.")
    counts = np.bincount(labels, minlength=NOT_A_DIGIT)
    few = [f"{count} of {digit}" for digit, count in enumerate(counts) if 0 < count < MIN_DIGIT_IMAGES]
    if few:
        lines.append(
            f"There are few training images, {', '.join(few)}: expect errors there, {MIN_DIGIT_IMAGES} are "
            "the least."
        )
    return lines


def join_digits(digits: Sequence[int]) -> str:
    """Return digits in words: `3`, `3 and 4`, or `3, 4 and 5`."""
    *others, last = map(str, digits)
    return f"{', '.join(others)} and {last}" if others else last
