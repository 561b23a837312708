"""Measure preprocessing alone: microseconds per image by size, `python -m benchmarks.preprocessing`.

Three kinds of images are made from MNIST's training digits: dark ink on even paper, a photograph with uneven
light and grain, and a printed box with the digit in it. The figure is the mean over the images, each at the
best of several runs, on one core. Each image has just been written to memory, as when a scan has decoded it.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.types import GrayImage
from digitscan.training.data.sources import load_data

SIDES = (16, 28, 48, 64, 75, 96, 128, 200, 320, 420, 900, 1280, 3000)
RUNS = 9
IMAGE_COUNT = 60
LARGE_SIDE = 900
LARGE_IMAGE_COUNT = 12
"""Images from LARGE_SIDE pixels on: their time depends on their pixels, hardly on the digit."""
MIN_BOX_SIDE = 48
"""In a smaller image there is no room for a box and a digit."""


def make_image(digit: GrayImage, side: int, is_photo: bool, random: np.random.Generator) -> GrayImage:
    """Return a (side, side) uint8 image: the digit, dark, over 80 % of a paper."""
    digit_side = max(8, round(0.8 * side))
    start = (side - digit_side) // 2
    ink = np.zeros((side, side), np.float32)
    ink[start : start + digit_side, start : start + digit_side] = cv2.resize(digit, (digit_side, digit_side))
    if not is_photo:
        return np.asarray(255 - ink, np.uint8)
    corners = (1.0 + random.uniform(-0.15, 0.15, (2, 2))).astype(np.float32)
    light = cv2.resize(corners, (side, side))
    grain = random.normal(0.0, 4.0, (side, side))
    return np.asarray(np.clip(200.0 * light * (1.0 - 0.7 / 255.0 * ink) + grain, 0.0, 255.0), np.uint8)


def make_box(digit: GrayImage, side: int, random: np.random.Generator) -> GrayImage:
    """Return a (side, side) uint8 image: the digit, dark, over 70 % of a paper, in a printed box."""
    image = make_image(digit, side, False, random)
    inner = cv2.resize(image, None, fx=0.875, fy=0.875, interpolation=cv2.INTER_AREA)
    start = (side - len(inner)) // 2
    image[:] = 255
    image[start : start + len(inner), start : start + len(inner)] = inner
    inset = round(random.uniform(0.02, 0.06) * side)
    thickness = max(1, round(0.02 * side))
    cv2.rectangle(image, (inset, inset), (side - 1 - inset, side - 1 - inset), 60, thickness)
    return image


def measure_microseconds(images: list[GrayImage]) -> float:
    """Return the mean time to preprocess one of the images, each at its best of several runs."""
    best_seconds = [float("inf")] * len(images)
    for _ in range(RUNS):
        for index, image in enumerate(images):
            decoded = image.copy()
            start = time.perf_counter()
            preprocess(decoded)
            best_seconds[index] = min(best_seconds[index], time.perf_counter() - start)
    return sum(best_seconds) / len(images) * 1e6


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    cv2.setNumThreads(1)
    digits = load_data().x_train
    random = np.random.default_rng(0)
    print("| pixels a side | even paper, us | photo, us | box, us |\n|---|---|---|---|")
    for side in SIDES:
        some = digits[: IMAGE_COUNT if side < LARGE_SIDE else LARGE_IMAGE_COUNT]
        paper, photo = (
            measure_microseconds([make_image(digit, side, is_photo, random) for digit in some])
            for is_photo in (False, True)
        )
        box = ""
        if side >= MIN_BOX_SIDE:
            box = f"{measure_microseconds([make_box(digit, side, random) for digit in some]):.0f}"
        print(f"| {side} | {paper:.0f} | {photo:.0f} | {box} |", flush=True)


if __name__ == "__main__":
    main()
