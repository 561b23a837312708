"""What preprocessing took for the digit, and which ink it left out, for people who want to see why.

`preprocess` says it in notes; here it is a picture of the same shape as the image.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.detect import Detection
from digitscan.imaging.ink import square_kernel
from digitscan.imaging.normalize import to_uint8
from digitscan.imaging.preprocess import Preprocessed, detect_in_reduced, list_candidates, refine
from digitscan.imaging.segment import BLANK
from digitscan.imaging.separate import separate_ink
from digitscan.imaging.types import GrayImage


class Finding(IntEnum):
    """What a pixel was taken for."""

    PAPER = 0
    DIGIT = 1
    LEFT_OUT = 2
    """Ink of something else: a printed line, a box, a neighbour, a speck; or of no digit at all."""


def find_ink(gray: NDArray[Any], result: Preprocessed) -> GrayImage:
    """Return a `Finding` for each pixel of an image at working size, (height, width) uint8.

    `gray` is as for `preprocess`. `result` is what it returned, or the one of its candidates that a
    classifier chose. Working size is about 64 pixels on the longer side; a smaller image may be enlarged.
    """
    image = to_uint8(gray)
    reduced, scale, detections = detect_in_reduced(image)
    chosen = next((each for each in detections if _gives(image, each, scale, result)), detections[0])
    if result.rejection == BLANK:
        return np.zeros(reduced.shape, np.uint8)  # its grain is no ink
    mask = separate_ink(reduced).measurement.mask
    findings = np.where(mask > 0, np.uint8(Finding.LEFT_OUT), np.uint8(Finding.PAPER))
    if result.pixels is not None and chosen.digit is not None:
        top, left, ink = chosen.digit.top, chosen.digit.left, chosen.digit.ink
        height, width = ink.shape
        # The separation of the digit's own ink may be at another size, where the paper was uneven.
        shape = (max(findings.shape[0], top + height), max(findings.shape[1], left + width))
        if shape != findings.shape:
            findings = cv2.resize(findings, shape[::-1], interpolation=cv2.INTER_NEAREST)
        place = findings[top : top + height, left : left + width]
        place[(ink > chosen.threshold) | ((ink > 0) & (place != Finding.PAPER))] = Finding.DIGIT
        _add_soft_edges(findings, chosen.printed)
    return np.asarray(findings, np.uint8)


def _add_soft_edges(findings: GrayImage, printed: GrayImage | None) -> None:
    """Count ink that touches the digit as the digit's, unless it is printed: its threshold was another."""
    is_digit = (findings == Finding.DIGIT).astype(np.uint8)
    touches = (cv2.dilate(is_digit, square_kernel(3)) > 0) & (findings == Finding.LEFT_OUT)
    if printed is not None and printed.shape == findings.shape:
        touches &= printed == 0
    findings[touches] = Finding.DIGIT


def _gives(image: GrayImage, detection: Detection, scale: float, result: Preprocessed) -> bool:
    """Tell whether a result is one of those that a detection gives."""
    if result.pixels is None:
        return False
    return any(
        np.array_equal(candidate.pixels, result.pixels)
        for candidate in list_candidates(refine(image, detection, scale))
        if candidate.pixels is not None
    )
