"""What preprocessing costs: microseconds a picture, after reading, by size and kind.

    python -m benchmarks.preprocessing

Two kinds, made from MNIST's training digits: dark ink on even paper, and a photo with uneven light and
grain. The mean over the pictures, each at the best of several passes, on one core. A picture has just been
written to memory, as it has when a scan has decoded it.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.types import GrayImage
from digitscan.training.data.sources import load_data

SIZES = (16, 28, 48, 64, 75, 96, 128, 200, 320, 420, 900, 1280, 3000)
PICTURES = 60
PASSES = 9
FEW = 12
"""So many pictures of 900 pixels a side and more: their memory, not their number, is what matters."""


def picture(digit: GrayImage, size: int, is_photo: bool, random: np.random.Generator) -> GrayImage:
    """Return (size, size) uint8: the digit, dark, over 80 % of a paper."""
    across = max(8, round(0.8 * size))
    start = (size - across) // 2
    ink = np.zeros((size, size), np.float32)
    ink[start : start + across, start : start + across] = cv2.resize(digit, (across, across))
    if not is_photo:
        return np.asarray(255 - ink, np.uint8)
    corners = (1.0 + random.uniform(-0.15, 0.15, (2, 2))).astype(np.float32)
    light = cv2.resize(corners, (size, size))
    grain = random.normal(0.0, 4.0, (size, size))
    return np.asarray(np.clip(200.0 * light * (1.0 - 0.7 / 255.0 * ink) + grain, 0.0, 255.0), np.uint8)


def microseconds(pictures: list[GrayImage]) -> float:
    """Return the microseconds that preprocessing one of the pictures takes: their mean, each at its best."""
    best = [float("inf")] * len(pictures)
    for _ in range(PASSES):
        for place, each in enumerate(pictures):
            decoded = each.copy()
            start = time.perf_counter()
            preprocess(decoded)
            best[place] = min(best[place], time.perf_counter() - start)
    return sum(best) / len(pictures) * 1e6


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    digits = load_data().x_train
    random = np.random.default_rng(0)
    print("| pixels a side | even paper, us | photo, us |\n|---|---|---|")
    for size in SIZES:
        many = PICTURES if size < 900 else FEW
        even, photo = (
            microseconds([picture(digits[k], size, is_photo, random) for k in range(many)])
            for is_photo in (False, True)
        )
        print(f"| {size} | {even:.0f} | {photo:.0f} |", flush=True)


if __name__ == "__main__":
    main()
