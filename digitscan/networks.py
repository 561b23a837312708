"""The networks that can be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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

    def convolve(values: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
        values = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(values)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(values))

    image = keras.Input((28, 28, 1))
    values = convolve(image, 32, 5, strides=2)  # 14x14
    values = convolve(values, 48, 3)
    values = layers.MaxPooling2D()(values)  # 7x7
    values = convolve(values, 96, 3)
    values = convolve(values, 96, 3)
    values = convolve(values, 128, 3, strides=2, padding="valid")  # 3x3
    values = layers.Dropout(0.3)(layers.Flatten()(values))
    network = keras.Model(image, layers.Dense(11, activation="softmax")(values), name="cnn")
    assert network.count_params() == 263_915
    return network


NETWORKS: dict[str, Callable[[], Any]] = {"cnn": build_cnn, "mlp": build_mlp}
CLASSES = {"cnn": 11, "mlp": 10}
"""Answers of a network: the digits, and for eleven "not a digit"."""
