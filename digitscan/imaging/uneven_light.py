"""Find the ink on unevenly lit paper: `separate_in_uneven_light`.

On evenly lit paper, one threshold separates ink from paper (`ink`). It does not where a lamp, a vignette or a
gradient spans more gray levels than the ink, or where there are two levels of paper: at a shadow's edge, at a
crease, where paper lies on a table, in a screenshot with bars. There, what counts is not how dark a pixel is,
but whether it is of a ridge with paper on both sides (`regions`).

A **mark** is a connected ridge inside of the image with paper around it: a digit, or a part of one. A digit
that touches the image's edge is no mark; `is_digit` tells it from a table and a shadow, which do so too.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from digitscan.imaging.ink import (
    InkMeasurement,
    SeparatedInk,
    border_indices,
    is_faint,
    square_kernel,
)
from digitscan.imaging.regions import (
    MAX_DIGIT_STROKE_WIDTH,
    MIN_PIECE_SIZE,
    Region,
    compute_edge_share,
    compute_hat,
    find_main_region,
    has_part,
    is_bar,
    is_digit,
    is_solid,
)
from digitscan.imaging.types import GrayImage

MAX_STROKE_WIDTH = 0.2
"""Width of the widest stroke that is looked for in uneven light, as a share of the image's size."""
MIN_MARK_CONTRAST = 8.0
"""Gray levels between a mark and the paper around it."""
MIN_MARK_RANGE = 0.06
"""The same as a share of the image's range."""
MAX_MARKS = 3
"""So many ridges of each polarity, the largest ones, are examined."""
MIN_AREA_RATIO = 0.1
"""The area of the smallest of them, as a share of the largest one's."""
MAX_LIKE_SHARE = 0.2
"""The share of a mark's surroundings that other ridges of its polarity may cover."""
MAX_UNLIKE_SHARE = 0.4
"""The share that ridges of the opposite polarity may cover: around the hole of a digit, there are strokes."""
MAX_GLOW = 1.4
"""The ratio of a mark's contrast with wider ridges to that without, above which it is a glow."""
MIN_MARK_EDGE = 0.75
"""The share of a mark's outline that must be an edge: light fades, and a corner of paper is open inwards."""
MAX_PART_SHARE = 0.7
"""A prominent mark that covers a larger share of the main region is the digit, and no part of it."""
MAX_BAR_GAP = 0.1
"""The ends of a bar of light are at most this share of the image's longer side away from its edge."""


def separate_in_uneven_light(image: GrayImage, separated: SeparatedInk) -> SeparatedInk:
    """Return the ink of the strongest mark in an image, (H, W) uint8, or else `separated`, if it is a digit.

    `separated` is what `separate_in_even_light` gives. If there is no digit, `measurement.contrast` is 0.
    """
    hats = compute_hat(image, False, MAX_STROKE_WIDTH), compute_hat(image, True, MAX_STROKE_WIDTH)
    mark, is_prominent = _find_mark(image, hats)
    main = find_main_region(separated)
    is_doubtful = mark is None or _may_explain(main, mark, is_prominent, image.shape)
    if main is not None and is_doubtful and is_digit(main, image):
        return separated
    if mark is None:
        return separated._replace(measurement=separated.measurement._replace(contrast=0.0))
    ink = hats[mark.is_light]
    measurement = _measure_mark(ink, mark)
    return SeparatedInk(mark.is_light, ink, measurement, is_faint=is_faint(measurement.contrast))


def _find_mark(image: GrayImage, hats: tuple[GrayImage, GrayImage]) -> tuple[Region | None, bool]:
    """Return the strongest mark of either polarity, and whether it covers more than all other ridges."""
    darkest, brightest, _, _ = cv2.minMaxLoc(image)
    min_contrast = max(MIN_MARK_CONTRAST, MIN_MARK_RANGE * (brightest - darkest))
    greatest = [cv2.minMaxLoc(ridges)[1] for ridges in hats]
    # Half of the greatest contrast parts a digit from a fainter strip of shadow that it crosses. The lower
    # threshold finds a digit that is fainter than other ridges.
    for is_strict in (True, False):
        ridge_area = 0
        marks = []
        for is_light, ridges in enumerate(hats):
            if greatest[is_light] >= min_contrast:
                threshold = 0.5 * greatest[is_light] if is_strict else 3.0 * cv2.mean(ridges)[0] + 4.0
                found, area = _find_ridges(ridges, bool(is_light), max(MIN_MARK_CONTRAST, threshold))
                marks += found
                ridge_area += area
        for mark in sorted(marks, key=lambda mark: -mark.evidence):
            if mark.contrast >= min_contrast and _is_mark(mark, image, hats):
                return mark, 2 * mark.area > ridge_area
    return None, False


def _find_ridges(ridges: GrayImage, is_light: bool, threshold: float) -> tuple[list[Region], int]:
    """Return the largest connected ridges that do not touch the image's edge, and the area of all ridges."""
    _, mask = cv2.threshold(ridges, threshold, 1, cv2.THRESH_BINARY)
    # Dilated, the pieces of a broken stroke are one. What touches the edge is connected to the frame.
    framed = cv2.copyMakeBorder(cv2.dilate(mask, square_kernel(3)), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(framed, connectivity=8, ltype=cv2.CV_16U)
    frame = labels[0, 0]
    rows = stats.tolist()
    inner = sorted((row[4], label) for label, row in enumerate(rows) if label not in (0, frame))[-MAX_MARKS:]
    regions = []
    for area, label in inner:
        if area < MIN_AREA_RATIO * inner[-1][0]:
            continue
        left, top, width, height, _ = rows[label]
        is_region = labels[top : top + height, left : left + width] == label
        part = ridges[top - 1 : top - 1 + height, left - 1 : left - 1 + width]
        squares = np.square(part[is_region].astype(np.float32))
        evidence = float(squares.dot(squares))
        contrast = math.sqrt(evidence / max(1.0, float(squares.sum())))
        is_region &= part > 0.45 * contrast
        box = (left - 1, top - 1, width, height)
        area = int(np.count_nonzero(is_region))
        regions.append(Region(is_light, contrast, box, is_region, area, evidence))
    return regions, cv2.countNonZero(mask)


def _is_mark(mark: Region, image: GrayImage, hats: tuple[GrayImage, GrayImage]) -> bool:
    """Tell whether a ridge is a mark: with paper around it, edges along its outline, and no bar of light."""
    return (
        _compute_share_around(mark, hats[mark.is_light]) <= MAX_LIKE_SHARE
        and _compute_share_around(mark, hats[not mark.is_light]) <= MAX_UNLIKE_SHARE
        and compute_edge_share(mark, image) >= MIN_MARK_EDGE
        and not _is_piece_of_light(mark, image.shape)
        and not _is_glow(mark, image, hats[mark.is_light])
    )


def _is_glow(mark: Region, image: GrayImage, ridges: GrayImage) -> bool:
    """Tell whether a mark's contrast grows with the width of the ridges: light fades, and ink has an end."""
    left, top, width, height = mark.box
    if min(width, height) < MIN_PIECE_SIZE:
        return False
    box = slice(top, top + height), slice(left, left + width)
    wider = compute_hat(image, mark.is_light, MAX_DIGIT_STROKE_WIDTH)
    contrast, wider_contrast = (float(hat[box][mark.mask].mean()) for hat in (ridges, wider))
    return wider_contrast > MAX_GLOW * contrast


def _compute_share_around(mark: Region, ridges: GrayImage) -> float:
    """Return the share of a mark's surroundings, to half of its size beyond its box, that ridges cover."""
    left, top, width, height = mark.box
    margin = max(2, max(width, height) // 2)
    outer = ridges[
        max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin
    ]
    inner = ridges[top : top + height, left : left + width]
    threshold = 0.5 * mark.contrast
    outer_count, inner_count = (
        cv2.countNonZero(cv2.threshold(part, threshold, 1, cv2.THRESH_BINARY)[1]) for part in (outer, inner)
    )
    return (outer_count - inner_count) / max(1, outer.size - inner.size)


def _is_piece_of_light(mark: Region, shape: tuple[int, ...]) -> bool:
    """Tell whether a mark is a solid piece, or a bar that reaches from one edge of the image to another."""
    left, top, width, height = mark.box
    if 2 * max(width, height) > max(shape) and is_bar(mark):
        right, bottom = shape[1] - left - width, shape[0] - top - height
        falling_gap = max(min(left, top), min(right, bottom))
        rising_gap = max(min(right, top), min(left, bottom))
        return min(falling_gap, rising_gap) <= MAX_BAR_GAP * max(shape)
    return min(width, height) >= MIN_PIECE_SIZE and is_solid(mark) and not is_bar(mark)


def _measure_mark(ink: GrayImage, mark: Region) -> InkMeasurement:
    """Return the measurement of the ink as strong as a mark, without what touches the image's edge."""
    left, top, width, height = mark.box
    threshold = max(5.0, 0.45 * mark.contrast)
    _, mask = cv2.threshold(ink, threshold, 255, cv2.THRESH_BINARY)
    paper_mean, paper_deviation = cv2.meanStdDev(ink, mask=cv2.bitwise_not(mask))
    if mask.take(border_indices(mask.shape)).any():
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=255)
        cv2.floodFill(framed, None, (0, 0), 0, flags=8)
        inner = framed[1:-1, 1:-1]
        if cv2.countNonZero(inner[top : top + height, left : left + width]):
            mask = inner.copy()
    contrast = cv2.mean(ink, mask)[0] - float(paper_mean[0, 0])
    return InkMeasurement(mask, threshold, contrast, float(paper_deviation[0, 0]))


def _may_explain(main: Region | None, mark: Region, is_prominent: bool, shape: tuple[int, ...]) -> bool:
    """Tell whether a mark may be a hole in the main region, or a part of it: in a tight crop, it is."""
    if main is None:
        return False
    if mark.is_light != main.is_light:
        return not is_prominent
    return has_part(main, mark, shape) and not (is_prominent and mark.area > MAX_PART_SHARE * main.area)
