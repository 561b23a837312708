"""The networks have the classes and stay within the cost that their docstrings state."""

import numpy as np
import pytest

from digitscan.training.architectures import ARCHITECTURES, CLASS_COUNTS, build_line


def count_multiply_adds(keras_model):
    """The multiply-adds of the convolutions and Dense layers for one image."""
    count = 0
    for layer in keras_model.layers:
        kernel = next((weights for weights in layer.trainable_weights if len(weights.shape) >= 2), None)
        if kernel is not None:
            shape = layer.output.shape
            positions = int(np.prod(shape[1:3])) if len(shape) == 4 else 1
            count += positions * int(np.prod(kernel.shape))
    return count


@pytest.mark.parametrize(("name", "limit"), [("mlp", 110_000), ("cnn", 10_000_000), ("cnn-fast", 1_250_000)])
def test_a_network_stays_within_its_cost(name, limit):
    assert 0.95 * limit < count_multiply_adds(ARCHITECTURES[name]()) <= limit


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_returns_probabilities_of_its_classes(name):
    images = np.random.default_rng(1).random((2, 28, 28, 1), np.float32)
    probabilities = np.asarray(ARCHITECTURES[name]()(images, training=False))
    assert probabilities.shape == (2, CLASS_COUNTS[name])
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_the_line_network_has_a_step_for_each_4_pixels_and_probabilities_of_13_symbols():
    lines = np.random.default_rng(1).random((2, 32, 72, 1), np.float32)
    probabilities = np.asarray(build_line()(lines, training=False))
    assert probabilities.shape == (2, 1, 18, 13)
    assert np.allclose(probabilities.sum(axis=-1), 1.0, atol=1e-5)
