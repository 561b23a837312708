"""Quantization is for convolutions alone: everything else stays float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.model.float_operations import find_float_operations
from digitscan.model.tflite_compiler import compile_model
from tests.support.hostile_models import build_network


def build_conv_end(end: Any) -> Any:
    convolution = layers.Conv2D(4, 3, strides=3, activation="relu", name="first")
    return keras.Sequential([keras.Input((28, 28, 1)), convolution, layers.Conv2D(10, 9, name="last"), end])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: build_network(layers.Conv2D(2, 3, activation="relu")), []),
        (lambda: build_network(layers.Conv2D(2, 3), layers.BatchNormalization(), layers.ReLU()), []),
        (lambda: build_network(layers.ZeroPadding2D(), layers.Conv2D(2, 3), layers.MaxPooling2D()), []),
        (lambda: build_network(layers.Conv2D(2, 3, activation="tanh"), layers.Conv2D(2, 3)), ["Tanh"]),
        (lambda: build_network(layers.Conv2D(2, 3), layers.LeakyReLU(), layers.MaxPooling2D()), ["leaky_re"]),
        (lambda: build_network(layers.Conv2D(2, 3), layers.AveragePooling2D(2)), ["average_pooling"]),
        (lambda: build_network(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(5)), ["dense"]),
    ],
    ids=["convolution", "batch norm", "moves", "tanh", "leaky relu", "average pooling", "dense"],
)
def test_what_is_not_a_convolution_stays_float(
    build: Callable[[], Any], expected: list[str], calibration_images: NDArray[np.float32]
) -> None:
    compiled = compile_model(build(), calibration_images, quantizes=False)
    names = find_float_operations(compiled)
    assert names is not None
    assert names[-1] == "Identity", "the logits"
    assert all(any(word in name for name in names[:-1]) for word in expected)
    assert bool(names[:-1]) == bool(expected)


@pytest.mark.parametrize("end", [layers.Flatten(), layers.GlobalMaxPooling2D()], ids=["moved", "computed"])
def test_a_convolution_that_computes_the_logits_stays_float(
    end: Any, calibration_images: NDArray[np.float32]
) -> None:
    names = find_float_operations(compile_model(build_conv_end(end), calibration_images, quantizes=False))
    assert names is not None
    assert any("last" in name for name in names) == isinstance(end, layers.Flatten)
    assert not any("first" in name for name in names)


def test_a_network_without_convolution_is_not_quantized(calibration_images: NDArray[np.float32]) -> None:
    network = build_network(layers.Flatten(), layers.Dense(20, "relu"))
    compiled = compile_model(network, calibration_images)
    assert find_float_operations(compiled) is None
    assert compiled == compile_model(network, calibration_images, quantizes=False)


def test_a_network_with_convolutions_is_quantized(calibration_images: NDArray[np.float32]) -> None:
    network = build_network(layers.Conv2D(16, 5), layers.Conv2D(16, 5), layers.MaxPooling2D(8))
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel, bias + np.eye(11)[4] * 100])  # the answers are the same in int8
    in_float = compile_model(network, calibration_images, quantizes=False)
    assert len(compile_model(network, calibration_images)) < len(in_float) / 2
