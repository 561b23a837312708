"""The rewritten first convolutions give what Keras gives, and other networks are left as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from digitscan.model.space_to_depth import build_block_kernel, build_space_to_depth_stem
from digitscan.training.architectures import build_cnn, build_fast_cnn, build_mlp


def apply_group(values: Any, filters: int = 6, size: Any = 5, bias: bool = False, **settings: Any) -> Any:
    """Apply a convolution with strides of 2, batch normalization and ReLU."""
    settings = {"strides": 2, "padding": "same"} | settings
    values = layers.Conv2D(filters, size, use_bias=bias, **settings)(values)
    return layers.ReLU()(layers.BatchNormalization()(values))


def build_network(*groups: dict[str, Any]) -> Any:
    """Return a network that begins with groups of these settings."""
    values = image = keras.Input((28, 28, 1))
    for settings in groups:
        values = apply_group(values, **settings)
    return keras.Model(image, layers.Dense(10)(layers.Flatten()(values)))


def randomize_weights(keras_model: Any) -> Any:
    random = np.random.default_rng(1)
    keras_model.set_weights(
        [random.uniform(0.1, 1.0, weights.shape) for weights in keras_model.get_weights()]
    )
    return keras_model


def assert_equal_to_keras(keras_model: Any) -> None:
    images = np.random.default_rng(2).random((3, 28, 28, 1), np.float32)
    stem = build_space_to_depth_stem(keras_model)
    assert stem is not None
    expected = keras.Model(keras_model.inputs[0], stem.output)(images, training=False)
    assert np.allclose(stem.compute(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize(("group_count", "side"), [(1, 14), (2, 7)])
def test_the_rewritten_layers_compute_the_values_of_keras(size: int, group_count: int, side: int) -> None:
    groups: list[dict[str, Any]] = [{"size": size}, {"size": size, "filters": 4, "bias": True}]
    network = randomize_weights(build_network(*groups[:group_count]))
    assert_equal_to_keras(network)
    assert build_space_to_depth_stem(network).output.shape[1] == side


@pytest.mark.parametrize(("build", "side"), [(build_cnn, 14), (build_fast_cnn, 7)])
def test_our_own_networks_are_rewritten(build: Callable[[], Any], side: int) -> None:
    network = randomize_weights(build())
    assert_equal_to_keras(network)
    assert build_space_to_depth_stem(network).output.shape[1] == side


@pytest.mark.parametrize(
    "settings",
    [{"padding": "valid"}, {"strides": 1}, {"strides": (1, 2)}, {"size": (3, 5)}, {"activation": "relu"}],
)
def test_other_convolutions_are_left_as_they_are(settings: dict[str, Any]) -> None:
    assert build_space_to_depth_stem(build_network(settings)) is None


def test_a_network_without_convolutions_is_left_as_it_is() -> None:
    assert build_space_to_depth_stem(build_mlp()) is None


def test_a_relu_with_a_maximum_is_left_as_it_is() -> None:
    image = keras.Input((28, 28, 1))
    values = layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image))
    values = layers.Flatten()(layers.ReLU(max_value=6.0)(values))
    assert build_space_to_depth_stem(keras.Model(image, layers.Dense(10)(values))) is None


def test_an_image_that_is_used_elsewhere_too_leaves_the_network_as_it_is() -> None:
    image = keras.Input((28, 28, 1))
    both = layers.Concatenate()([layers.Flatten()(apply_group(image)), layers.Flatten()(image)])
    assert build_space_to_depth_stem(keras.Model(image, layers.Dense(10)(both))) is None


def test_only_the_first_group_is_rewritten_where_its_output_is_used_twice() -> None:
    image = keras.Input((28, 28, 1))
    values = apply_group(image)
    both = layers.Concatenate()([layers.Flatten()(values), layers.Flatten()(apply_group(values))])
    network = randomize_weights(keras.Model(image, layers.Dense(10)(both)))
    assert_equal_to_keras(network)
    assert build_space_to_depth_stem(network).output.shape[1] == 14


def test_a_network_that_calls_a_layer_twice_is_left_as_it_is() -> None:
    image, relu = keras.Input((28, 28, 1)), layers.ReLU()
    values = relu(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image)))
    values = relu(layers.Conv2D(4, 3)(values))
    network = keras.Model(image, layers.Dense(10)(layers.Flatten()(values)))
    assert build_space_to_depth_stem(network) is None


def test_a_block_kernel_holds_each_weight_once_for_each_output_of_a_block() -> None:
    kernel = np.random.default_rng(1).random((5, 5, 1, 16), np.float32)
    blocks = build_block_kernel(kernel, 28, 4)
    assert blocks.shape == (3, 3, 16, 64)
    assert np.isclose(blocks.sum(), 4 * kernel.sum(), rtol=1e-5)
    assert np.count_nonzero(blocks) == 4 * kernel.size
