"""The Keras networks that can be trained.

Those that read one digit take float32 images (N, 28, 28, 1), 0.0 for no ink to 1.0 for full ink, and return
float32 softmax probabilities (N, 10) of the digits, or (N, 11) where the last class means "not a digit".
The one that reads a line of digits is described in `build_line`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from digitscan.model.metadata import FAST_CNN, LINE, LINE_CLASSES


def build_mlp() -> Any:
    """Return the classic multilayer perceptron, 784-128-64-10."""
    import keras
    from keras import layers

    keras_model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="mlp",
    )
    assert keras_model.count_params() == 109_386
    return keras_model


def build_cnn() -> Any:
    """Return a network of five convolutions and 11 classes, with 9.97 million multiply-adds an image.

    Convolution, batch normalization and ReLU follow each other as in An et al. 2020, "An Ensemble of Simple
    Convolutional Neural Network Models for MNIST Digit Recognition".
    """
    import keras
    from keras import layers

    inputs = keras.Input((28, 28, 1))
    x = _add_convolution(inputs, 32, 5, strides=2)  # 14x14
    x = _add_convolution(x, 48, 3)
    x = layers.MaxPooling2D()(x)  # 7x7
    x = _add_convolution(x, 96, 3)
    x = _add_convolution(x, 96, 3)
    x = _add_convolution(x, 128, 3, strides=2, padding="valid")  # 3x3
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    keras_model = keras.Model(inputs, layers.Dense(11, activation="softmax")(x), name="cnn")
    assert keras_model.count_params() == 263_915
    return keras_model


def build_fast_cnn() -> Any:
    """Return the CNN's fast companion: four convolutions, 11 classes, 1.2 million multiply-adds an image."""
    import keras
    from keras import layers

    inputs = keras.Input((28, 28, 1))
    x = _add_convolution(inputs, 16, 5, strides=2)  # 14x14
    x = _add_convolution(x, 32, 3, strides=2)  # 7x7
    x = _add_convolution(x, 48, 3)
    x = _add_convolution(x, 64, 3, strides=2, padding="valid")  # 3x3
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    keras_model = keras.Model(inputs, layers.Dense(11, activation="softmax")(x), name="cnn_fast")
    assert keras_model.count_params() == 53_467
    return keras_model


def build_line() -> Any:
    """Return a network that reads a line of digits, for CTC (Graves et al. 2006).

    It takes lines (N, 32, W, 1), as above, where W is a multiple of 4, and returns the softmax probabilities
    (N, 1, W/4, 13) of the symbols in each column of 4 pixels: the ten digits, a point, a minus, and the
    blank. It has 262,917 parameters and needs 280,000 multiply-adds for each pixel of width.
    """
    import keras
    from keras import layers

    inputs = keras.Input((32, None, 1))
    x = _add_convolution(inputs, 24, 5, strides=2)  # 16 x W/2
    x = _add_convolution(x, 40, 3)
    x = layers.MaxPooling2D()(x)  # 8 x W/4
    x = _add_convolution(x, 64, 3)
    x = _add_convolution(x, 64, 3)
    x = layers.MaxPooling2D((2, 1))(x)  # 4 x W/4
    x = _add_convolution(x, 96, 3)
    x = layers.MaxPooling2D((2, 1))(x)  # 2 x W/4
    x = layers.ZeroPadding2D((0, 1))(x)
    x = _add_convolution(x, 128, (2, 3), padding="valid")  # 1 x W/4
    x = _add_convolution(x, 96, (1, 5))
    x = layers.Dropout(0.1)(x)
    outputs = layers.Conv2D(13, 1, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="line")


def _add_convolution(
    x: Any, filters: int, kernel_size: int | tuple[int, int], strides: int = 1, padding: str = "same"
) -> Any:
    """Return the output of a convolution with batch normalization and ReLU on the tensor `x`."""
    from keras import layers

    x = layers.Conv2D(filters, kernel_size, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


ARCHITECTURES: dict[str, Callable[[], Any]] = {"cnn": build_cnn, "mlp": build_mlp, FAST_CNN: build_fast_cnn}
"""The function that builds each network that reads one digit."""
CLASS_COUNTS = {"cnn": 11, "mlp": 10, FAST_CNN: 11, LINE: LINE_CLASSES}
"""The classes of each network: the ten digits, for eleven also "not a digit"; of a line, the symbols."""
