"""Detect the digit in an image of working size: paper, ink, lines, segments.

`preprocess` calls `detect_digits` with the reduced image, and with close-ups of small digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digitscan.imaging.frames import BOX_REMOVED, LINE_REMOVED
from digitscan.imaging.ink import (
    InkMeasurement,
    is_blank,
    measure_ink,
    separate_ink_of,
)
from digitscan.imaging.lines import LineRemoval, may_have_lines, remove_lines
from digitscan.imaging.segment import (
    BLANK,
    EMPTY_FIELD,
    Digit,
    remove_printed_components,
    segment_digit,
)
from digitscan.imaging.separate import separate_ink
from digitscan.imaging.types import GrayImage

MAX_ASPECT_RATIO = 2.5
"""Width to height of the widest digit: the widest one of MNIST's training images."""
MIN_REST_CONTRAST = 0.15
"""Contrast of a digit to that of the lines around it; with less, the rest is the grain of the paper."""
MIN_REMNANT_SIZE = 0.2
"""What is left at the border of a smaller share of the image, when lines are gone, is a remnant of them."""
MIN_DIGIT_SHARE = 0.06
"""What is left anywhere of a smaller share of the image is a remnant."""
REMNANT_BORDER = 0.15
"""The border, as a share of the image."""
LIGHT_ON_DARK = "light on dark"
PRINT_NOTES = frozenset({LINE_REMOVED, BOX_REMOVED})
"""The notes of an image in which something printed was left out."""


class Detection(NamedTuple):
    """The digit of a reduced image, a rejection or both, as in `Segmentation`, and how to render it."""

    notes: tuple[str, ...]
    rejection: str | None
    digit: Digit | None = None
    threshold: float = 0.0
    contrast: float = 0.0
    needs_review: bool = False
    is_light_on_dark: bool = False
    printed: GrayImage | None = None
    """Where prints were taken away, (H, W) uint8, not 0 there; None if nothing was."""
    scale: float = 1.0
    """Pixels of the digit for each pixel of the image, which may have been enlarged."""


def detect_digits(image: GrayImage, is_light: bool | None = None) -> list[Detection]:
    """Return the digit in an image; several candidates, in order, where it is not plain what is the digit.

    That is so where lines may be printed or be strokes of the digit, and where components may be parts of
    the digit or neighbours. The first candidate keeps the most. `is_light` is whether the ink is lighter than
    the paper, where that is known.
    """
    separated = separate_ink(image)
    if is_light is not None and is_light != separated.is_light_on_dark:
        separated = separate_ink_of(image, is_light)
    ink, measurement = separated.ink, separated.measurement
    notes = (LIGHT_ON_DARK,) if separated.is_light_on_dark else ()
    is_empty = bool(is_blank(measurement.contrast, measurement.noise))
    if separated.is_faint and not is_empty:
        notes = (*notes, "faint")
    # By position: keywords take twice as long.
    base = Detection(notes, None, None, 0.0, 0.0, False, separated.is_light_on_dark, None, separated.scale)
    if is_empty:
        return [base._replace(rejection=BLANK)]
    box = cv2.boundingRect(measurement.mask)
    if not may_have_lines(box, ink.shape):
        return _detect_in_ink(ink, measurement, base, box)
    return _detect_among_lines(ink, measurement, base)


def _detect_among_lines(ink: GrayImage, measurement: InkMeasurement, base: Detection) -> list[Detection]:
    """Return the digit in ink that may hold printed lines and frames, or several candidates."""
    printed = remove_printed_components(ink, measurement.mask)
    rest, rest_measurement = ink, measurement
    if printed is not None:
        rest, rest_measurement = printed.ink, measure_ink(printed.ink)
        base = base._replace(notes=base.notes + printed.notes, printed=_compare(ink, rest))
        if not _has_ink(rest_measurement, measurement):
            return [base._replace(rejection=EMPTY_FIELD)]
        if not printed.has_strokes:
            return [_reject_remnant(_detect_in_ink(rest, rest_measurement, base)[-1], base, ink.shape)]
        box = cv2.boundingRect(rest_measurement.mask)
        if not may_have_lines(box, rest.shape):
            return _detect_in_ink(rest, rest_measurement, base, box)
    removal = remove_lines(rest, rest_measurement.threshold, rest_measurement.noise)
    if removal is None:
        return _detect_in_ink(rest, rest_measurement, base)
    without_lines = _detect_without_lines(ink, removal, rest_measurement, base)
    if _is_printed(removal, without_lines):
        return [without_lines]
    candidates = _detect_in_ink(rest, rest_measurement, base)
    if without_lines.digit is None or without_lines.rejection:
        return candidates
    # Strokes that touch a line may be parts of a letter, of which the line is another part.
    is_doubtful = removal.is_touched and not removal.is_frame
    if is_doubtful and _is_at_edge(without_lines.digit, removal.ink.shape):
        return candidates
    return [*candidates, without_lines._replace(needs_review=without_lines.needs_review or is_doubtful)]


def _compare(ink: GrayImage, rest: GrayImage) -> GrayImage:
    """Return where ink was taken away, (H, W) uint8, not 0 there."""
    return np.asarray(cv2.compare(ink, rest, cv2.CMP_NE), np.uint8)


def _has_ink(rest: InkMeasurement, before: InkMeasurement) -> bool:
    """Tell whether there is ink left when prints are gone.

    Without them, Otsu's threshold may divide the grain of the paper.
    """
    return bool(
        not is_blank(rest.contrast, rest.noise) and rest.contrast >= MIN_REST_CONTRAST * before.contrast
    )


def _detect_in_ink(
    ink: GrayImage, measurement: InkMeasurement, base: Detection, box: Sequence[int] | None = None
) -> list[Detection]:
    """Return the digit in the ink, or several candidates; `base` has what is known of the image.

    `box` is the bounding box of the ink, if it is known.
    """
    mask, threshold, contrast, _ = measurement
    segmentations = segment_digit(ink, mask, cv2.boundingRect(mask) if box is None else box)
    if base.printed is None and not PRINT_NOTES.isdisjoint(segmentations[-1].notes):
        printed = remove_printed_components(ink, mask)
        base = base._replace(printed=None if printed is None else _compare(ink, printed.ink))
    return [
        Detection(
            tuple(dict.fromkeys(base.notes + notes)) if base.notes and notes else base.notes or notes,
            _reject(digit, rejection),
            digit,
            threshold,
            contrast,
            needs_review,
            base.is_light_on_dark,
            base.printed,
            base.scale,
        )
        for digit, rejection, notes, needs_review in segmentations
    ]


def _reject(digit: Digit | None, rejection: str | None) -> str | None:
    """Return why a segmentation does not hold a digit; None if it does."""
    if rejection is None and digit is not None:
        height, width = digit.ink.shape
        if width > MAX_ASPECT_RATIO * height:
            return "too wide for one digit"
    return rejection


def _detect_without_lines(
    ink: GrayImage, removal: LineRemoval, measurement: InkMeasurement, base: Detection
) -> Detection:
    """Return the digit in the ink without lines, or that the field is empty."""
    note = BOX_REMOVED if removal.is_frame else LINE_REMOVED
    notes = tuple(dict.fromkeys((*base.notes, note)))
    base = base._replace(notes=notes, printed=_compare(ink, removal.ink))
    rest = measure_ink(removal.ink)
    if not _has_ink(rest, measurement):
        return base._replace(rejection=EMPTY_FIELD)
    return _reject_remnant(_detect_in_ink(removal.ink, rest, base)[-1], base, ink.shape)


def _reject_remnant(detection: Detection, base: Detection, shape: tuple[int, ...]) -> Detection:
    """Return the detection in what prints left, or that the field is empty if that is a remnant of them."""
    if detection.digit is not None and _is_remnant(detection.digit, shape):
        return base._replace(rejection=EMPTY_FIELD)
    return detection


def _is_printed(removal: LineRemoval, without_lines: Detection) -> bool:
    """Tell whether lines are plainly printed: nothing shows that they may be strokes of the digit."""
    if without_lines.rejection == EMPTY_FIELD:
        is_stroke = removal.is_touched or removal.may_be_a_one()
        return removal.is_anchored and not is_stroke
    if without_lines.digit is None or without_lines.rejection:
        return False
    is_stroke = removal.is_touched and not removal.is_frame
    return removal.is_anchored and not is_stroke and not _is_at_edge(without_lines.digit, removal.ink.shape)


def _is_remnant(digit: Digit, shape: tuple[int, ...]) -> bool:
    """Tell whether what is left is too small for a digit, or small and at the border, where lines were."""
    height, width = digit.ink.shape
    size = max(height, width) / max(shape)
    if size < MIN_DIGIT_SHARE:
        return True
    centre_y, centre_x = (digit.top + height / 2) / shape[0], (digit.left + width / 2) / shape[1]
    is_in_middle = all(REMNANT_BORDER < centre < 1 - REMNANT_BORDER for centre in (centre_x, centre_y))
    return size < MIN_REMNANT_SIZE and not is_in_middle


def _is_at_edge(digit: Digit, shape: tuple[int, ...]) -> bool:
    """Tell whether a digit is less than two pixels from an edge: it may fill the image, lines and all."""
    height, width = digit.ink.shape
    right, bottom = shape[1] - digit.left - width, shape[0] - digit.top - height
    return bool(min(digit.top, digit.left, right, bottom) <= 1)
