"""A degradation model: how pens, scanners and cameras change an image of a digit.

`degrade` applies random degradations one after another; `augment` uses it for digits and negatives. Each
function takes an image of light ink on black, (height, width) uint8, and returns another; what
`simulate_camera` returns is mostly dark ink on light paper. Sizes in pixels are meant for the 64x64 pixels
that `distort.distort` returns.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

MIN_INK = 100
"""Pixels brighter than this are ink where the image is cropped to its ink."""


def degrade(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the image with random degradations. Its shape and its polarity may change."""
    image = change_stroke_width(image, rng)
    if rng.random() < 0.15:
        image = break_strokes(image, rng)
    if rng.random() < 0.12:
        image = crop_at_border(image, rng)
    if rng.random() < 0.35:
        image = reduce_resolution(image, rng)
    return simulate_camera(image, rng) if rng.random() < 0.5 else image


def change_stroke_width(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the image with strokes thinner or thicker by up to three pixels, or unchanged."""
    choice = rng.random()
    if choice < 0.35:
        return cv2.erode(image, _make_disc(int(rng.integers(2, 4))))
    if choice < 0.65:
        return cv2.dilate(image, _make_disc(int(rng.integers(2, 5))))
    return image


def _make_disc(diameter: int) -> GrayImage:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)), np.uint8)


def break_strokes(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the image with one to three thin gaps, as a dry pen or a bad threshold leaves them."""
    broken = image.copy()
    for _ in range(int(rng.integers(1, 4))):
        center = rng.uniform(12, 52, 2)
        angle = rng.uniform(0, np.pi)
        half_gap = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(4, 14)
        start, end = np.rint(center - half_gap).astype(int), np.rint(center + half_gap).astype(int)
        cv2.line(broken, start.tolist(), end.tolist(), 0, int(rng.integers(1, 4)))
    return broken


def crop_at_border(image: GrayImage, rng: np.random.Generator, max_share: float = 1 / 12) -> GrayImage:
    """Return the image cropped to its ink, where one side also loses up to `max_share` of the ink's extent.

    An image with fewer than six pixels of ink in either direction is returned unchanged.
    """
    left, top, width, height = cv2.boundingRect(cv2.threshold(image, MIN_INK, 255, cv2.THRESH_BINARY)[1])
    if min(width, height) < 6:
        return image
    cuts = [0, 0, 0, 0]  # top, left, bottom, right
    side = int(rng.integers(4))
    cuts[side] = int(rng.uniform(0.0, max_share) * (width if side % 2 else height))
    return image[top + cuts[0] : top + height - cuts[2], left + cuts[1] : left + width - cuts[3]]


def reduce_resolution(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the image 15 to 30 pixels tall or wide, the longer side, in grey or in black and white."""
    height, width = image.shape
    scale = rng.uniform(15.0, 30.0) / max(height, width)
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    if rng.random() < 0.25:
        # As in older data sets of scanned forms, which stretch each digit to one box.
        image = crop_at_border(image, rng, max_share=0.0)
        size = (max(8, round(max(size) * rng.uniform(0.6, 1.0))), max(size))
    if rng.random() < 0.25:
        return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)  # breaks thin strokes into dots
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        return cv2.threshold(resized, int(rng.integers(60, 150)), 255, cv2.THRESH_BINARY)[1]
    return resized


def simulate_camera(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return a photograph of dark ink on light paper, or, at times, its negative.

    It has margins and may have blur, uneven light, low contrast, noise and JPEG artefacts.
    """
    height, width = image.shape
    top, bottom, left, right = rng.integers(0, max(2, height // 3), 4).tolist()
    ink = np.pad(image, ((top, bottom), (left, right)))
    height, width = ink.shape
    if rng.random() < 0.5:
        ink = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.4, 0.02 * height + 0.5))
    paper = rng.uniform(120.0, 255.0)
    contrast = rng.uniform(0.2, 0.95)
    light: NDArray[Any] = np.ones((height, width), np.float32)
    if rng.random() < 0.7:
        corners = (1.0 + rng.uniform(-0.25, 0.25, (2, 2))).astype(np.float32)
        light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    brightness = paper * light * (1.0 - contrast / 255.0 * ink)
    noise_level = rng.uniform(0.0, 0.07) * contrast * paper * rng.random()
    noise = rng.standard_normal((height, width), np.float32) * np.float32(noise_level)
    if rng.random() < 0.5:
        noise = 2.0 * cv2.blur(noise, (3, 3))
    photograph = np.clip(brightness + noise, 0.0, 255.0).astype(np.uint8)
    if rng.random() < 0.25:
        _, data = cv2.imencode(".jpg", photograph, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        photograph = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return 255 - photograph if rng.random() < 0.15 else photograph
