"""Separate ink from paper, whatever the light and the grain: `separate_ink` chooses the method.

Most images are evenly lit and clear (`ink`). Others need `uneven_light`, and small ones with faint strokes
`faint_ink`; both take longer.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.faint_ink import estimate_grain, separate_faint_ink
from digitscan.imaging.ink import (
    SeparatedInk,
    border_indices,
    has_even_background,
    separate_in_even_light,
    sort_border,
    square_kernel,
)
from digitscan.imaging.regions import MAX_NARROW_RATIO, has_digit, has_thick_bar
from digitscan.imaging.types import GrayImage
from digitscan.imaging.uneven_light import separate_in_uneven_light

MIN_UNEVEN_SIDE = 24
"""An image whose shorter side has fewer pixels is too small to be searched for uneven light."""
MIN_UNEVEN_LENGTH = 29
"""So is one whose longer side has fewer pixels; `preprocess_batch` counts on it."""
MAX_BORDER_SPAN = 0.5
"""Gray levels that the border spans, as a share of the ink's contrast, where one threshold is enough."""
MAX_EVEN_SPAN = 20
"""Gray levels that the border of evenly lit paper spans."""
CLEAR_CONTRAST_TO_NOISE = 12.0
"""Where it spans more, ink has a higher ratio of contrast to noise; a lamp's glow has a lower one."""
MAX_INK_SHARE = 0.4
"""No digit covers a larger share of an image whose border shows only paper; a sheet on a table does."""
MIN_CONTRAST_TO_NOISE = 6.0
"""With a lower ratio of contrast to noise, what looks like ink may be the light's fall-off."""
MAX_SIDE_SHARE = 0.7
"""Ink along one side of the image, as a share of it, beyond which it may be a table or a shadow."""
MAX_EDGE_WIDTH = 0.1
"""Width of the widest printed line along a side, as a share of the longer side of the image."""
MAX_STROKE_WIDTH = 0.2
"""Width of the widest stroke elsewhere; a lamp's glow is wider."""
MIN_INNER_SHARE = 0.1
"""Ink far from the edges, as a share of the ink that it is connected with, from which both are a digit's."""
MAX_GRAINY_LENGTH = 63
"""Pixels on the longer side of the largest image that may be grainy: a reduced one has less grain."""
MAX_CONTRAST_TO_GRAIN = 25.0
"""Faint ink with a lower ratio of its contrast to the paper's grain is searched for lines.

On MNIST's training digits with thin and thick pens, in grain of many strengths, as many or more were read
right so in each range of ratios up to this one.
"""


def separate_ink(image: GrayImage) -> SeparatedInk:
    """Return the ink in an image of working size, (H, W) uint8.

    If there is none, `measurement.contrast` is 0, or too low for its noise.
    """
    separated = _separate_in_any_light(image)
    if not separated.is_faint or max(image.shape) > MAX_GRAINY_LENGTH:
        return separated
    if separated.measurement.contrast >= MAX_CONTRAST_TO_GRAIN * estimate_grain(image):
        return separated
    return separate_faint_ink(image) or separated


def _separate_in_any_light(image: GrayImage) -> SeparatedInk:
    """Return the ink of an image that is not grainy."""
    separated = separate_in_even_light(image)
    if min(image.shape) < MIN_UNEVEN_SIDE or max(image.shape) < MIN_UNEVEN_LENGTH:
        return separated
    mask, _, contrast, noise = separated.measurement
    if contrast < MIN_CONTRAST_TO_NOISE * noise:
        uneven = separate_in_uneven_light(image, separated)
        # Soft strokes of a blurred digit that fills the image are no clear ink, and no marks on paper.
        is_blurred = uneven.measurement.contrast == 0.0 and not separated.is_faint
        return separated if is_blurred and _has_only_strokes(image, separated) else uneven
    if _is_evenly_lit(separated):
        return separated
    if not separated.is_faint and _has_only_strokes(image, separated):
        return separated
    is_inside = not mask.take(border_indices(mask.shape)).any()
    if (is_inside or _has_mostly_even_border(image)) and has_digit(separated, image):
        return separated
    return separate_in_uneven_light(image, separated)


def _is_evenly_lit(separated: SeparatedInk) -> bool:
    """Tell whether the border shows only paper, and less than half of the image is ink."""
    mask, _, contrast, noise = separated.measurement
    span = separated.border_span
    if span > MAX_BORDER_SPAN * contrast:
        return False
    if span > MAX_EVEN_SPAN and contrast < CLEAR_CONTRAST_TO_NOISE * noise:
        return False
    return cv2.countNonZero(mask) <= MAX_INK_SHARE * mask.size


def _has_only_strokes(image: GrayImage, separated: SeparatedInk) -> bool:
    """Tell whether the ink is nowhere wider than a stroke, or, along an edge of the image, than a line.

    So a digit or a box that reaches the edge is no shadow and no table. The ink is that of one threshold on
    the image itself: what is left of a shadow when a smooth background is subtracted is as thin as a line.
    """
    if min(image.shape) < MAX_NARROW_RATIO * max(image.shape):
        return True
    mode = cv2.THRESH_BINARY if separated.is_light_on_dark else cv2.THRESH_BINARY_INV
    _, mask = cv2.threshold(image, 0, 255, mode | cv2.THRESH_OTSU)
    if _erode(mask, MAX_STROKE_WIDTH).any() or has_thick_bar(mask):
        return False
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    if max(cv2.countNonZero(side) / side.size for side in sides) <= MAX_SIDE_SHARE:
        return True
    border = int(MAX_EDGE_WIDTH * max(mask.shape)) + 1
    along_edges = mask.copy()
    along_edges[border:-border, border:-border] = 0
    thick = _erode(along_edges, MAX_EDGE_WIDTH) > 0
    return not thick.any() or _reaches_inside(mask, thick)


def _reaches_inside(mask: GrayImage, is_along_edge: NDArray[np.bool_]) -> bool:
    """Tell whether the ink along the edges is connected to ink far from them: to other strokes of a digit."""
    _, labels = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)
    is_connected = np.isin(labels, np.unique(labels[is_along_edge]))
    border = int(MAX_STROKE_WIDTH * max(mask.shape)) + 1
    inner_count = np.count_nonzero(is_connected[border:-border, border:-border])
    return bool(inner_count >= MIN_INNER_SHARE * np.count_nonzero(is_connected))


def _erode(mask: GrayImage, share: float) -> GrayImage:
    """Return where the ink is as wide as this share of the image's longer side."""
    width = int(share * max(mask.shape)) | 1
    return cv2.erode(mask, square_kernel(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _has_mostly_even_border(image: GrayImage) -> bool:
    """Tell whether most of the border is even: all but the darkest or the lightest fifth."""
    border = sort_border(image)
    count = border.size
    low, lower, upper, high = (
        int(border[index]) for index in (count // 10, count * 2 // 10, count * 8 // 10, count * 9 // 10)
    )
    return bool(has_even_background(min(upper - low, high - lower), image.shape))
