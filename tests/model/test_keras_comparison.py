"""How often a compiled model answers otherwise than Keras: the share that the compiler goes by."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.model.ctc import BLANK, find_best_path, merge_separators
from digitscan.model.input_range import InputRange
from digitscan.model.keras_comparison import measure_disagreement, measure_line_disagreement
from digitscan.model.known_images import compose_known_lines
from digitscan.model.tflite_compiler import compile_model
from tests.support.hostile_models import build_network


def with_bias(network: Any, bias: NDArray[np.float32]) -> Any:
    """Return a copy of a network with another bias in its last layer."""
    copy = keras.models.clone_model(network)
    copy.set_weights([*network.get_weights()[:-1], bias])
    return copy


@pytest.mark.parametrize("input_range", InputRange)
def test_a_compiled_model_agrees_with_its_keras_model_and_not_with_another(
    input_range: InputRange, images: NDArray[np.uint8]
) -> None:
    keras.utils.set_random_seed(3)
    network = build_network(shape=(28, 28), classes=10)
    compiled = compile_model(network, None, input_range)
    assert measure_disagreement(network, compiled, images, input_range) == 0.0
    other = with_bias(network, np.eye(10, dtype=np.float32)[4] * 1e6)  # it reads each image as 4
    answers = network.predict(
        input_range.apply_polarity(images) / np.float32(255 / input_range.maximum), verbose=0
    ).argmax(axis=1)
    assert measure_disagreement(other, compiled, images, input_range) == np.mean(answers != 4)


def test_where_keras_finds_two_classes_equally_likely_either_will_do(images: NDArray[np.uint8]) -> None:
    # Sigmoids of large values are all 1.0 in float32, and their logarithms differ.
    network = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10, "sigmoid")])
    network.layers[-1].set_weights([np.zeros((784, 10)), np.linspace(20, 30, 10)])
    logits = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    logits.set_weights(network.get_weights())
    assert measure_disagreement(network, compile_model(logits), images) == 0.0


def test_images_for_which_keras_computes_no_number_are_left_out(images: NDArray[np.uint8]) -> None:
    network = build_network(classes=10)
    compiled = compile_model(network)
    assert measure_disagreement(with_bias(network, np.full(10, np.nan, np.float32)), compiled, images) == 0.0


def test_a_compiled_model_that_computes_no_number_disagrees(images: NDArray[np.uint8]) -> None:
    network = build_network(classes=10)
    bias = np.full(10, 3.0, np.float32)
    compiled = compile_model(with_bias(network, bias))
    broken = compiled.replace(bias.tobytes(), np.full(10, np.nan, np.float32).tobytes())
    assert broken != compiled
    assert measure_disagreement(network, broken, images) == 1.0


def test_a_compiled_model_of_numbers_agrees_with_its_keras_model_and_not_with_another(
    small_line_network: Any,
) -> None:
    lines, _ = compose_known_lines()
    compiled = compile_model(small_line_network, quantizes=False)
    assert measure_line_disagreement(small_line_network, compiled, lines) == 0.0
    blank = with_bias(small_line_network, np.eye(13, dtype=np.float32)[BLANK] * 1e6)  # it reads no digits
    outputs = np.asarray(small_line_network(lines[..., None] / np.float32(255), training=False))[:, 0]
    share = np.mean([find_best_path(merge_separators(steps)) != () for steps in outputs])
    assert share > 0.9
    assert measure_line_disagreement(blank, compiled, lines) == share


def test_a_compiled_model_of_numbers_that_computes_no_number_disagrees(small_line_network: Any) -> None:
    bias = np.full(13, 3.0, np.float32)
    compiled = compile_model(with_bias(small_line_network, bias), quantizes=False)
    broken = compiled.replace(bias.tobytes(), np.full(13, np.nan, np.float32).tobytes())
    assert broken != compiled
    lines, _ = compose_known_lines()
    assert measure_line_disagreement(small_line_network, broken, lines[:9]) == 1.0
