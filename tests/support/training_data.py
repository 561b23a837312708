"""A few digits of MNIST, to train on in seconds."""

from pathlib import Path

import numpy as np

from digitscan.training.data.sources import load_data


def save_few_digits(path: Path, train_count: int = 600, test_count: int = 100) -> Path:
    """Write an `.npz` with the first training and test digits of MNIST; return its path."""
    mnist = load_data()
    np.savez(
        path,
        x_train=mnist.x_train[:train_count],
        y_train=mnist.y_train[:train_count],
        x_test=mnist.x_test[:test_count],
        y_test=mnist.y_test[:test_count],
    )
    return path
