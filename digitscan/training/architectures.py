"""The networks that can be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from digitscan.model.metadata import FAST_CNN


def build_mlp() -> Any:
    """Return the classic network, 784-128-64-10: 109,386 parameters."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="mlp",
    )
    assert network.count_params() == 109_386
    return network


def build_cnn() -> Any:
    """Return a small convolutional network, 9.97 million multiply-adds an image, with eleven answers."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1))
    values = _convolve(image, 32, 5, strides=2)  # 14x14
    values = _convolve(values, 48, 3)
    values = layers.MaxPooling2D()(values)  # 7x7
    values = _convolve(values, 96, 3)
    values = _convolve(values, 96, 3)
    values = _convolve(values, 128, 3, strides=2, padding="valid")  # 3x3
    values = layers.Dropout(0.3)(layers.Flatten()(values))
    network = keras.Model(image, layers.Dense(11, activation="softmax")(values), name="cnn")
    assert network.count_params() == 263_915
    return network


def build_fast_cnn() -> Any:
    """Return an eighth of the CNN, 1.2 million multiply-adds an image, that answers where it is sure."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1))
    values = _convolve(image, 16, 5, strides=2)  # 14x14
    values = _convolve(values, 32, 3, strides=2)  # 7x7
    values = _convolve(values, 48, 3)
    values = _convolve(values, 64, 3, strides=2, padding="valid")  # 3x3
    values = layers.Dropout(0.1)(layers.Flatten()(values))
    return keras.Model(image, layers.Dense(11, activation="softmax")(values), name="cnn_fast")


def _convolve(values: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    from keras import layers

    values = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(values)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(values))


ARCHITECTURES: dict[str, Callable[[], Any]] = {"cnn": build_cnn, "mlp": build_mlp, FAST_CNN: build_fast_cnn}
CLASS_COUNTS = {"cnn": 11, "mlp": 10, FAST_CNN: 11}
"""Answers of a network: the digits, and for eleven "not a digit"."""
