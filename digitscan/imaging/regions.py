"""Connected regions of an image: `has_digit` tells a digit from a table, a shadow or a glow.

A table at the side of the paper and a shadow are regions too. Their edges are steps, with paper of another
brightness on the far side; a stroke is a ridge, with paper on both sides. A morphological closing that is
wider than a stroke fills dark ridges and keeps steps; its difference from the image, the black-hat transform,
holds the ridges alone. The top-hat transform does the same for light ridges (Serra, "Image Analysis and
Mathematical Morphology", 1982).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.ink import SeparatedInk, border_indices, is_blank, square_kernel
from digitscan.imaging.types import GrayImage

MIN_DIGIT_EDGE = 0.6
"""The share of a digit's outline that must be an edge: light fades."""
MAX_DIGIT_STROKE_WIDTH = 0.3
"""Width of the widest stroke of a digit, as a share of the image's size."""
MIN_RIDGE_CONTRAST = 0.6
"""The least contrast of a digit as a ridge of up to this width, as a share of its contrast."""
MIN_RIDGE_SHARE = 0.5
"""The share of a digit that must be such a ridge: a table and a shadow are steps."""
MIN_PIECE_SIZE = 8
"""Pixels on the shorter side of a solid piece that is too large for a small digit whose strokes merge."""
MAX_SOLIDITY = 0.8
"""The share of its convex hull that a digit fills, unless it is a 1."""
MIN_ELONGATION = 3.0
"""The length of a 1 or of a bar of light, as a multiple of its width."""
MIN_BAR_FILL = 0.5
"""The share of the smallest rectangle around it that a bar fills."""
MIN_BAR_LENGTH = 0.9
"""Length of such a bar, as a share of the image's longer side."""
MIN_THICK_BAR = 0.09
"""Width of a bar across the image that is a strip of light or a table, as a share of it; a 1 is thinner."""
MIN_BAR_SHARE = 0.75
"""The share of all ink that such a bar has."""
MAX_NARROW_RATIO = 0.65
"""The shorter side as a share of the longer one, in an image that a 1 may fill."""


class Region(NamedTuple):
    """A connected region that may be a digit."""

    is_light: bool
    contrast: float
    """Gray levels between it and the paper."""
    box: tuple[int, int, int, int]
    """Left, top, width and height."""
    mask: NDArray[np.bool_]
    """Which pixels of the box are of the region."""
    area: int
    evidence: float = 0.0
    """The sum of its values' fourth powers: a small dark ridge counts more than a large faint one."""


def find_main_region(separated: SeparatedInk) -> Region | None:
    """Return the largest connected component of the ink; all of it, if none touches the image's edge."""
    mask, _, contrast, noise = separated.measurement
    if is_blank(contrast, noise):
        return None
    if not mask.take(border_indices(mask.shape)).any():
        left, top, width, height = cv2.boundingRect(mask)
        area = cv2.countNonZero(mask)
        is_region = mask[top : top + height, left : left + width] > 0
    else:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
        label = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        left, top, width, height, area = stats[label].tolist()
        is_region = labels[top : top + height, left : left + width] == label
    return Region(separated.is_light_on_dark, contrast, (left, top, width, height), is_region, area)


def has_digit(separated: SeparatedInk, image: GrayImage) -> bool:
    """Tell whether the largest region of the ink of an image, (H, W) uint8, may be a digit."""
    main = find_main_region(separated)
    return main is not None and is_digit(main, image)


def is_digit(region: Region, image: GrayImage) -> bool:
    """Tell whether a region may be a digit: a ridge with edges, and no bar across the image or solid piece.

    A narrow image may be filled by a 1, with paper on no side of it.
    """
    if compute_edge_share(region, image) < MIN_DIGIT_EDGE:
        return False
    if min(image.shape) < MAX_NARROW_RATIO * max(image.shape):
        return True
    left, top, width, height = region.box
    ridges = compute_hat(image, region.is_light, MAX_DIGIT_STROKE_WIDTH)
    is_ridge = ridges[top : top + height, left : left + width] > MIN_RIDGE_CONTRAST * region.contrast
    if np.count_nonzero(is_ridge & region.mask) < MIN_RIDGE_SHARE * region.area:
        return False
    if is_bar(region):
        return _count_border_runs(_draw(region, image.shape)) < 2
    return min(width, height) < MIN_PIECE_SIZE or not is_solid(region)


def compute_hat(image: GrayImage, is_light: bool, max_width: float) -> GrayImage:
    """Return the light or the dark ridges up to a width, a share of the image's size: (H, W) uint8.

    The values are gray levels between a ridge and its surroundings, 0 elsewhere. The image is continued
    beyond its edges: so a table along an edge is no ridge.
    """
    width = int(max_width * min(max(image.shape), 3 * min(image.shape))) | 1
    padded = cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_REPLICATE)
    transform = cv2.MORPH_TOPHAT if is_light else cv2.MORPH_BLACKHAT
    hat = cv2.morphologyEx(padded, transform, square_kernel(width))
    return hat[width:-width, width:-width].copy()


def compute_edge_share(region: Region, image: GrayImage) -> float:
    """Return the share of the pixels along a region's outline where the image changes by 0.3 of its contrast.

    The outline is the second pixel outside of the region; it is compared with those up to two pixels away.
    """
    left, top, width, height = region.box
    inner_left, inner_top = min(2, left), min(2, top)
    part = image[top - inner_top : top + height + 2, left - inner_left : left + width + 2]
    mask = np.zeros(part.shape, np.uint8)
    mask[inner_top : inner_top + height, inner_left : inner_left + width] = region.mask
    near = square_kernel(5)
    outline = cv2.subtract(cv2.dilate(mask, near), cv2.dilate(mask, square_kernel(3)))
    step = (
        cv2.subtract(cv2.dilate(part, near), part)
        if region.is_light
        else cv2.subtract(part, cv2.erode(part, near))
    )
    _, is_edge = cv2.threshold(step, 0.3 * region.contrast, 1, cv2.THRESH_BINARY)
    return cv2.countNonZero(cv2.bitwise_and(is_edge, outline)) / max(1, cv2.countNonZero(outline))


def has_part(region: Region, part: Region, shape: tuple[int, ...]) -> bool:
    """Tell whether most of `part` is in the region."""
    left, top, width, height = part.box
    drawn = _draw(region, shape)[top : top + height, left : left + width]
    return bool(2 * np.count_nonzero(drawn & part.mask) > part.area)


def _draw(region: Region, shape: tuple[int, ...]) -> GrayImage:
    """Return a mask of an image's shape: 1 in the region, 0 elsewhere."""
    left, top, width, height = region.box
    drawn = np.zeros(shape, np.uint8)
    drawn[top : top + height, left : left + width] = region.mask
    return drawn


def _count_border_runs(mask: GrayImage) -> int:
    """Return in how many stretches of an image's border its mask is not 0."""
    border = np.concatenate((mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]))
    return int(np.count_nonzero(border > np.roll(border, 1)))


def is_solid(region: Region) -> bool:
    """Tell whether a region nearly fills its convex hull."""
    hull = cv2.convexHull(cv2.findNonZero(region.mask.astype(np.uint8)))
    # The hull is of the pixels' centres: with their outer halves, it is larger by half of its outline.
    hull_area = cv2.contourArea(hull) + 0.5 * cv2.arcLength(hull, True) + 1.0
    return region.area >= MAX_SOLIDITY * hull_area


def is_bar(region: Region) -> bool:
    """Tell whether a region is straight, and as long and thin as a 1."""
    _, (first, second), _ = cv2.minAreaRect(cv2.findNonZero(region.mask.astype(np.uint8)))
    shorter, longer = sorted((first + 1.0, second + 1.0))
    return longer >= MIN_ELONGATION * shorter and region.area >= MIN_BAR_FILL * shorter * longer


def has_thick_bar(mask: GrayImage) -> bool:
    """Tell whether the largest component is a thick bar across the image: a strip of light or a table."""
    size = max(mask.shape)
    _, _, ink_width, ink_height = cv2.boundingRect(mask)
    if max(ink_width, ink_height) < MIN_BAR_LENGTH * size:
        return False
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    label = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    left, top, width, height, area = stats[label].tolist()
    length = max(width, height)
    is_thick = length >= MIN_BAR_LENGTH * size and area >= MIN_THICK_BAR * length * size
    # Beside the stem of an open 4, there is the rest of it.
    if not is_thick or area < MIN_BAR_SHARE * cv2.countNonZero(mask):
        return False
    is_region = labels[top : top + height, left : left + width] == label
    return is_bar(Region(False, 0.0, (left, top, width, height), is_region, area))
