"""Folders of pictures to measure speed with, made from the MNIST that comes with digitscan."""

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
    """Write so many 28x28 PNG files: MNIST's test images, then its training images."""
    mnist = load_data()
    images = np.concatenate([mnist.x_test, mnist.x_train])[:count]
    return _write(folder, images, ".png")


def make_jpegs(folder: Path, count: int, width: int, height: int, kind: str) -> Path:
    """Write so many JPEG files: dark digits on grainy paper with uneven light, as a camera sees them.

    `kind` is gray, as scanners write, or colour, as cameras do: slightly yellow paper.
    """
    random = np.random.default_rng(1)
    grain = random.normal(0.0, 3.0, (8, height, width)).astype(np.float32)
    light = cv2.resize(np.array([[225, 200], [210, 180]], np.float32), (width, height))
    across = round(0.7 * min(width, height))
    top, left = (height - across) // 2, (width - across) // 2

    def photo(number: int, digit: NDArray[Any]) -> NDArray[Any]:
        ink = np.zeros((height, width), np.float32)
        ink[top : top + across, left : left + across] = cv2.resize(digit, (across, across))
        lit = light * (1.0 - 0.8 / 255.0 * ink) + grain[number % len(grain)]
        if kind == "colour":
            lit = lit[..., None] * np.array([1.0, 0.97, 0.9], np.float32)
        return np.asarray(np.clip(lit, 0, 255), np.uint8)

    digits = load_data().x_test
    return _write(folder, (photo(k, digits[k % len(digits)]) for k in range(count)), ".jpg")


def make_many(folder: Path, count: int, source: Path) -> Path:
    """Fill a folder with so many names: the files of another one, linked again and again."""
    folder.mkdir()
    files = sorted(source.iterdir())
    for number in range(count):
        os.link(files[number % len(files)], folder / f"{number:07d}{files[0].suffix}")
    return folder


def _write(folder: Path, images: Iterable[NDArray[Any]], suffix: str) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:07d}{suffix}")
    return folder
