"""Small pictures of one size, preprocessed together: what `preprocess` gives, in a third of the time.

With 28x28 pixels most of the time goes into calls, not into pixels; here one call does a step for all. Only
what most pictures are goes this way: even paper, one connected part, its box already of MNIST's size. Any
other is looked at by `preprocess`, alone, which stays the only definition; the tests compare every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.ink import (
    border_indices,
    is_blank,
    is_clearly_dark_on_light,
    is_clearly_light_on_dark,
    is_even,
    is_faint,
)
from digitscan.imaging.normalize import BOX, INK_END, PAPER_END, SIZE, moment_weights
from digitscan.imaging.preprocess import WIDEST, Preprocessed, preprocess
from digitscan.imaging.segment import spans_image
from digitscan.imaging.types import GrayImage

MAX_SIDE = 32
"""Pixels on the longer side of a small picture: larger ones are reduced first, or looked at for shadows."""
MIN_BATCH = 8
"""Fewer of one size are not worth it."""
MAX_BATCH = 128
"""More at once leave the processor's cache, and may have more parts than 16 bits can count."""


def preprocess_batch(pictures: Sequence[NDArray[Any]] | NDArray[Any]) -> list[Preprocessed]:
    """Return `preprocess` of each picture: two-dimensional arrays of any kind and size."""
    seen: list[Preprocessed | None] = [None] * len(pictures)
    for numbers in _alike(pictures):
        alike = _look(np.stack([pictures[number] for number in numbers]))
        for number, one in zip(numbers, alike, strict=True):
            seen[number] = one
    return [one or preprocess(picture) for one, picture in zip(seen, pictures, strict=True)]


def is_batchable(picture: NDArray[Any]) -> bool:
    """Tell whether a picture may be looked at with others."""
    return picture.dtype == np.uint8 and max(picture.shape) <= MAX_SIDE


def _alike(pictures: Sequence[NDArray[Any]] | NDArray[Any]) -> list[list[int]]:
    """Return the places of pictures to look at together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        if is_batchable(picture):
            groups.setdefault(picture.shape, []).append(number)
    parts = (
        numbers[start : start + MAX_BATCH]
        for numbers in groups.values()
        for start in range(0, len(numbers), MAX_BATCH)
    )
    return [numbers for numbers in parts if len(numbers) >= MIN_BATCH]


def _look(pictures: GrayImage) -> list[Preprocessed | None]:
    """Look at pictures (N, H, W) uint8; None for those that `preprocess` must look at alone."""
    count, *shape = pictures.shape
    bright = np.empty_like(pictures)
    threshold = np.array([_part_by_otsu(*pair) for pair in zip(pictures, bright, strict=True)])
    light, dark = _polarity(bright)
    ink, level, even = _without_paper(np.where(light[:, None, None], pictures, ~pictures))
    usual = (light | dark) & even
    # Where nothing was changed, what was bright is what is ink.
    for number in np.flatnonzero(usual & ~(light & (level == 0))).tolist():
        threshold[number] = _part_by_otsu(ink[number], bright[number])
    strength, noise, inked = _strength(ink, bright)
    single, left, top, width, height = _boxes(bright)
    usual &= inked & ~is_blank(strength, noise) & single & (np.maximum(height, width) == BOX)
    usual &= ~spans_image(left, width, height, *shape) & (width <= WIDEST * height)
    drawn = _stretched(ink, threshold, strength)
    drawn *= (_between(top, height, shape[0])[:, :, None]) & (_between(left, width, shape[1])[:, None, :])
    down, right = _places(drawn, top, left, height, width)
    shown = np.zeros((count, SIZE, SIZE), np.uint8)
    columns = (top, left, height, width, down, right, light, is_faint(strength))
    rows = np.stack(columns, axis=1).tolist()
    seen: list[Preprocessed | None] = [None] * count
    for number in np.flatnonzero(usual).tolist():
        y, x, tall, wide, to_y, to_x, is_light, is_weak = rows[number]
        pixels = shown[number]
        pixels[to_y : to_y + tall, to_x : to_x + wide] = drawn[number, y : y + tall, x : x + wide]
        seen[number] = Preprocessed(pixels, _NOTES[is_light, is_weak], None, BOX)
    return seen


_NOTES = {
    (0, 0): (),
    (0, 1): ("faint",),
    (1, 0): ("light on dark",),
    (1, 1): ("light on dark", "faint"),
}


def _part_by_otsu(picture: GrayImage, bright: GrayImage) -> float:
    """Put 1 into `bright` where the picture is above Otsu's threshold, which is returned, else 0."""
    return cv2.threshold(picture, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU, dst=bright)[0]


def _polarity(bright: GrayImage) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether what is bright is plainly ink, and whether it is plainly paper."""
    count, height, width = bright.shape
    flat = bright.reshape(count, -1)
    area = flat.sum(axis=1, dtype=np.int64) / flat.shape[1]
    border = flat.take(border_indices((height, width)), axis=1)
    around = border.sum(axis=1, dtype=np.int64) / (2 * (height + width))
    return is_clearly_light_on_dark(area, around), is_clearly_dark_on_light(area, around)


def _without_paper(ink_side: GrayImage) -> tuple[GrayImage, NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the ink without even paper, the paper's level, and where it is even."""
    count, *shape = ink_side.shape
    border = ink_side.reshape(count, -1).take(border_indices(tuple(shape)), axis=1)
    border.sort(axis=1, kind="stable")
    length = border.shape[1]
    low, level, high = (border[:, place] for place in (length // 10, length // 2, length * 8 // 10))
    paper = level[:, None, None]
    return np.maximum(ink_side, paper) - paper, level, is_even(high.astype(np.int64) - low, tuple(shape))


def _strength(
    ink: GrayImage, bright: GrayImage
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return how far ink stands out of paper, the paper's noise, and whether there are both.

    As `measure_ink` does.
    """
    count = len(ink)
    values, above = ink.reshape(count, -1), bright.reshape(count, -1)
    inked = above.sum(axis=1, dtype=np.int64)
    bare = above.shape[1] - inked
    paper = (values * (1 - above)).astype(np.int32)
    paper_sum = paper.sum(axis=1, dtype=np.int64)
    ink_sum = values.sum(axis=1, dtype=np.int64) - paper_sum
    paper_level = paper_sum / np.maximum(bare, 1)
    squares = np.einsum("ij,ij->i", paper, paper)
    noise = np.sqrt(np.maximum(0.0, squares / np.maximum(bare, 1) - paper_level * paper_level))
    return ink_sum / np.maximum(inked, 1) - paper_level, noise, (inked > 0) & (bare > 0)


def _boxes(mask: GrayImage) -> tuple[NDArray[Any], ...]:
    """Return which masks have one connected part, and the left, top, width and height of that."""
    count, height, width = mask.shape
    sheet = np.zeros((count, height + 1, width), np.uint8)  # a row of paper parts each from the next
    sheet[:, :height] = mask
    _, _, parts, _ = cv2.connectedComponentsWithStats(
        sheet.reshape(-1, width), connectivity=8, ltype=cv2.CV_16U
    )
    parts = parts[1:, :4].astype(np.int64)
    owner, parts[:, 1] = np.divmod(parts[:, 1], height + 1)
    boxes = np.zeros((count, 4), np.int64)
    boxes[owner] = parts
    return np.bincount(owner, minlength=count) == 1, *boxes.T


def _stretched(ink: GrayImage, threshold: NDArray[np.float64], strength: NDArray[np.float64]) -> GrayImage:
    """Return `stretch_contrast` of each, in the same steps in float32."""
    low = PAPER_END * threshold
    high = np.maximum(low + 1.0, np.minimum(255.0, threshold + INK_END * strength))
    values = ink - low.astype(np.float32)[:, None, None]
    np.maximum(values, 0.0, out=values)
    values *= (255.0 / (high - low)).astype(np.float32)[:, None, None]
    return np.minimum(values, 255.0, out=values).astype(np.uint8)


def _between(start: NDArray[np.int64], length: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    places = np.arange(most) - start[:, None]
    return (places >= 0) & (places < length[:, None])


def _places(
    drawn: GrayImage,
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and column where each box begins in MNIST's frame: `centre_by_mass`."""
    count, *shape = drawn.shape
    # Whole numbers below 2**24: exact in float32.
    sums = drawn.reshape(count, -1).astype(np.float32) @ moment_weights(tuple(shape)).T
    mass, down, right = sums.astype(np.float64).T
    each = np.maximum(mass, 1.0)
    row = np.rint((SIZE - 1) / 2 - (down - top * mass) / each).astype(np.int64)
    column = np.rint((SIZE - 1) / 2 - (right - left * mass) / each).astype(np.int64)
    return np.clip(row, 0, SIZE - height), np.clip(column, 0, SIZE - width)
