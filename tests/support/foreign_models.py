"""Models as other people save them: plain Keras, without metadata."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from digitscan.model.input_range import InputRange
from digitscan.model.known_images import load_known_digits


def build_reader(input_range: InputRange, sharpness: float = 1.0) -> Any:
    """Return a Keras model (28, 28) to 10 probabilities that reads digits right in one input range.

    It is linear, fitted by least squares. `sharpness` multiplies its logits: with a large one it is too sure.
    """
    kernel, bias = _fit_linear_reader()
    if input_range.is_inverted:
        kernel, bias = -kernel, bias + kernel.sum(axis=0)
    network = keras.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Dense(10), layers.Softmax()])
    network.set_weights([sharpness * kernel / input_range.maximum, sharpness * bias])
    return network


@cache
def _fit_linear_reader() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the kernel (784, 10) and the bias (10,) of a linear reader of light ink, 0 to 1, on black."""
    digits, labels = load_known_digits()
    pixels = digits.reshape(len(digits), 784) / 255.0
    inputs = np.hstack([pixels, np.ones((len(pixels), 1))])
    targets = 10.0 * np.eye(10)[labels]
    weights = np.linalg.solve(inputs.T @ inputs + 5.0 * np.eye(785), inputs.T @ targets)
    return weights[:-1].astype(np.float32), weights[-1].astype(np.float32)
