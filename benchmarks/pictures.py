"""Make folders of images to measure speed with, from the MNIST that comes with digitscan."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitscan.training.data.sources import load_data


def make_pngs(folder: Path, count: int) -> Path:
    """Write 28x28 PNG files into a new folder: MNIST's test images, then its training images."""
    mnist = load_data()
    images = np.concatenate([mnist.x_test, mnist.x_train])[:count]
    return _write_images(folder, images, ".png")


def make_jpegs(folder: Path, count: int, width: int, height: int, kind: str) -> Path:
    """Write JPEG files into a new folder: dark digits on grainy paper in uneven light, as from a camera.

    `kind` is "gray", as scanners write them, or "colour", as cameras do: slightly yellow paper.
    """
    random = np.random.default_rng(1)
    grain = random.normal(0.0, 3.0, (8, height, width)).astype(np.float32)
    light = cv2.resize(np.array([[225, 200], [210, 180]], np.float32), (width, height))
    digit_side = round(0.7 * min(width, height))
    top, left = (height - digit_side) // 2, (width - digit_side) // 2

    def photograph(index: int, digit: NDArray[Any]) -> NDArray[Any]:
        ink = np.zeros((height, width), np.float32)
        ink[top : top + digit_side, left : left + digit_side] = cv2.resize(digit, (digit_side, digit_side))
        pixels = light * (1.0 - 0.8 / 255.0 * ink) + grain[index % len(grain)]
        if kind == "colour":
            pixels = pixels[..., None] * np.array([1.0, 0.97, 0.9], np.float32)
        return np.asarray(np.clip(pixels, 0, 255), np.uint8)

    digits = load_data().x_test
    photographs = (photograph(index, digits[index % len(digits)]) for index in range(count))
    return _write_images(folder, photographs, ".jpg")


def make_links(folder: Path, count: int, source: Path) -> Path:
    """Fill a new folder with hard links to the files of another one, used again and again."""
    folder.mkdir()
    files = sorted(source.iterdir())
    for index in range(count):
        os.link(files[index % len(files)], folder / f"{index:07d}{files[0].suffix}")
    return folder


def _write_images(folder: Path, images: Iterable[NDArray[Any]], suffix: str) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:07d}{suffix}")
    return folder
