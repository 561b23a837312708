"""The MNIST database that comes with digitscan."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError

MNIST_PATH = Path(__file__).resolve().parents[1] / "data" / "mnist.npz"
MNIST_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


def load_mnist() -> dict[str, NDArray[np.uint8]]:
    """Return MNIST's arrays: `x_train` and `x_test` (N, 28, 28), light ink on black, and their labels `y_`.

    Raises DataError where the file is missing or damaged.
    """
    try:
        data = MNIST_PATH.read_bytes()
    except OSError as error:
        raise DataError(f"the bundled {MNIST_PATH} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != MNIST_SHA256:
        raise DataError(f"the bundled {MNIST_PATH} is damaged: install digitscan again")
    with np.load(io.BytesIO(data)) as arrays:
        return {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
