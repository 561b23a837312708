"""Images of digits that are known, which a model is compiled with, and lines of digits composed of them.

They show the converter how large the values between the layers get, and are what a compiled model and its
Keras model are compared on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.model.input_range import InputRange
from digitscan.model.metadata import LINE_INPUT_SHAPE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_IMAGES = Path(__file__).resolve().parents[1] / "data" / "calibration_images.npz"
"""500 preprocessed training images, made by `docs/make_calibration_images.py`."""
LINE_COUNT = 160
LINE_WIDTH = 128
"""Room for six wide digits."""
MAX_GAP = 10
"""The most pixels of paper between two digits; the fewest are 0, and then they may touch."""
_SCALE = 1.4
"""MNIST's digits are 20 pixels high, those of lines up to 32."""


def load_calibration_images(input_range: InputRange) -> NDArray[np.float32]:
    """Return the bundled calibration images, float32 (500, 28, 28, 1) in an input range."""
    import numpy as np

    digits, _ = load_known_digits()
    images = input_range.apply_polarity(digits)[..., None].astype(np.float32)
    return (images * np.float32(input_range.maximum / 255.0)).astype(np.float32)


def load_calibration_lines() -> NDArray[np.float32]:
    """Return known lines, float32 (LINE_COUNT, 32, LINE_WIDTH, 1) in 0..1."""
    import numpy as np

    lines, _ = compose_known_lines()
    return (lines[..., None] / np.float32(255.0)).astype(np.float32)


def load_known_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the bundled calibration images as they are stored, uint8 (500, 28, 28), and their labels."""
    import numpy as np

    with np.load(CALIBRATION_IMAGES, allow_pickle=False) as file:
        return file["images"], file["labels"]


def compose_known_lines() -> tuple[NDArray[np.uint8], list[str]]:
    """Return lines (LINE_COUNT, 32, LINE_WIDTH) uint8, bright ink on black, and the number in each.

    They are the same at each call.
    """
    import numpy as np

    images, labels = load_known_digits()
    random = np.random.default_rng(0)
    digits = [_enlarge(image) for image in images]
    lines = np.zeros((LINE_COUNT, LINE_INPUT_SHAPE[0], LINE_WIDTH), np.uint8)
    numbers = [_fill_line(line, digits, labels, random) for line in lines]
    return lines, numbers


def _enlarge(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the columns of a digit (28, 28) that hold ink, at the height of a line."""
    import cv2
    import numpy as np

    height = LINE_INPUT_SHAPE[0]
    enlarged = np.asarray(cv2.resize(image, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_LINEAR))
    top = (len(enlarged) - height) // 2
    columns = np.flatnonzero(enlarged.max(axis=0))
    return enlarged[top : top + height, columns[0] : columns[-1] + 1].astype(np.uint8)


def _fill_line(
    line: NDArray[np.uint8],
    digits: list[NDArray[np.uint8]],
    labels: NDArray[np.uint8],
    random: np.random.Generator,
) -> str:
    """Draw digits into a line until it is full; return the number."""
    number, left = "", int(random.integers(MAX_GAP))
    while True:
        index = int(random.integers(len(digits)))
        right = left + digits[index].shape[1]
        if right > LINE_WIDTH:
            return number
        line[:, left:right] = digits[index]
        number += str(labels[index])
        left = right + int(random.integers(MAX_GAP + 1))
