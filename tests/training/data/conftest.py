"""Fixtures for the tests of training data: some of MNIST's digits."""

import pytest

from digitscan.training.data.datasets import Dataset


@pytest.fixture(scope="session")
def digits(mnist):
    """The first 300 of MNIST's training images."""
    return Dataset(mnist.x_train[:300], mnist.y_train[:300])
