"""A network's first convolutions on blocks of pixels give what they give on pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from digitscan.model.space_to_depth import space_to_depth_kernel, space_to_depth_stem
from digitscan.model.tflite_compiler import compile_model
from digitscan.training.architectures import build_cnn, build_fast_cnn, build_mlp


def stride(values, filters=6, size=5, bias=False, **settings):
    settings = {"strides": 2, "padding": "same"} | settings
    values = layers.Conv2D(filters, size, use_bias=bias, **settings)(values)
    return layers.ReLU()(layers.BatchNormalization()(values))


def network(*strides, end=layers.Flatten):
    values = image = keras.Input((28, 28, 1))
    for settings in strides:
        values = stride(values, **settings)
    return keras.Model(image, layers.Dense(10)(end()(values)))


def with_random_weights(model):
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1.0, weights.shape) for weights in model.get_weights()])
    return model


def agrees(model):
    """Whether the beginning in blocks gives what Keras gives there."""
    images = np.random.default_rng(2).random((3, 28, 28, 1), np.float32)
    beginning = space_to_depth_stem(model)
    expected = keras.Model(model.inputs[0], beginning.end)(images, training=False)
    return np.allclose(beginning.run(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("strides", [1, 2])
def test_the_values_are_those_of_single_pixels(size, strides):
    model = with_random_weights(
        network(*[{"size": size}, {"size": size, "filters": 4, "bias": True}][:strides])
    )
    assert agrees(model)
    assert space_to_depth_stem(model).end.shape[1] == {1: 14, 2: 7}[strides]


@pytest.mark.parametrize(("build", "side"), [(build_cnn, 14), (build_fast_cnn, 7)])
def test_our_networks_begin_so(build, side):
    model = with_random_weights(build())
    assert agrees(model)
    assert space_to_depth_stem(model).end.shape[1] == side


@pytest.mark.parametrize(
    "settings",
    [{"padding": "valid"}, {"strides": 1}, {"strides": (1, 2)}, {"size": (3, 5)}, {"activation": "relu"}],
)
def test_what_begins_otherwise_is_left_as_it_is(settings):
    assert space_to_depth_stem(network(settings)) is None
    assert space_to_depth_stem(build_mlp()) is None


def test_what_is_used_twice_is_left_as_it_is():
    image = keras.Input((28, 28, 1))
    values = stride(image)
    both = layers.Concatenate()([layers.Flatten()(values), layers.Flatten()(image)])
    assert space_to_depth_stem(keras.Model(image, layers.Dense(10)(both))) is None
    both = layers.Concatenate()([layers.Flatten()(values), layers.Flatten()(stride(values))])
    assert (
        space_to_depth_stem(with_random_weights(keras.Model(image, layers.Dense(10)(both)))).end.shape[1]
        == 14
    )


def test_a_layer_that_is_used_again_further_on_leaves_the_network_as_it_is():
    """A model cannot be cut where a layer gives several tensors."""
    image, relu = keras.Input((28, 28, 1)), layers.ReLU()
    values = relu(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image)))
    values = relu(layers.Conv2D(4, 3)(values))
    model = keras.Model(image, layers.Dense(10)(layers.Flatten()(values)))
    assert space_to_depth_stem(model) is None
    assert compile_model(model)


def test_a_limited_relu_is_left_as_it_is():
    image = keras.Input((28, 28, 1))
    values = layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image))
    values = layers.Flatten()(layers.ReLU(max_value=6.0)(values))
    assert space_to_depth_stem(keras.Model(image, layers.Dense(10)(values))) is None


def test_a_kernel_of_blocks_holds_each_weight_once_a_place():
    kernel = np.random.default_rng(1).random((5, 5, 1, 16), np.float32)
    blocks = space_to_depth_kernel(kernel, 28, 4)
    assert blocks.shape == (3, 3, 16, 64)
    assert np.isclose(blocks.sum(), 4 * kernel.sum(), rtol=1e-5)
    assert np.count_nonzero(blocks) == 4 * kernel.size
