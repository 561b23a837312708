"""Data augmentation: training images that vary as users' images do, and MNIST's do not.

A digit is taken from MNIST, perhaps with one of the `added_strokes`, or drawn anew (`stroke_glyphs`,
`font_glyphs`, `pen_strokes`); then it is distorted (`distort`), and degraded (`degrade`) or put into a field
of a form (`printed_fields`). Negatives come from `negatives` and `pen_strokes`, or are fields that hold no
digit, or several. The result goes through `preprocess`, as a user's image does. `generator` calls this module
in its worker processes.

Every image has a random generator of its own, seeded by the seed of the dataset and the index of the image.
So the images do not depend on how they are divided among processes. Any change of the order or number of
random draws changes every training run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.preprocess import Preprocessed, list_candidates, preprocess
from digitscan.imaging.types import GrayImage
from digitscan.training.data.added_strokes import STROKE_LABELS, add_stroke
from digitscan.training.data.datasets import Dataset, Split
from digitscan.training.data.degrade import degrade
from digitscan.training.data.distort import distort, stretch_to_square
from digitscan.training.data.font_glyphs import FontGlyphs, choose_glyph, load_font_glyphs
from digitscan.training.data.negatives import draw_negative
from digitscan.training.data.pen_strokes import PenStrokes, draw_pen_digit, draw_pen_non_digit
from digitscan.training.data.printed_fields import draw_empty_field, draw_printed_field, join_digits
from digitscan.training.data.stroke_glyphs import draw_digit

WEAK_STRENGTH = 0.65
"""The strength of the distortion of weakly augmented digits; others have 1."""
MIN_CORRELATION = 0.75
"""A degraded image that correlates less with the image before may have lost its label: it is made again."""
MIN_FIELD_CORRELATION = 0.65
"""The same for a digit in a printed field, of which a line or a neighbour may be left.

Two different digits of MNIST correlate 0.46 in the median. In fields with a correlation of more than 0.65,
the digit was nearly always legible beside such remains; with less, it was often a blot, or only a line.
"""
MIN_SCANNED_CORRELATION = 0.5
"""The same for images that thresholds are fitted to: of those between this and MIN_CORRELATION, most are
legible in the picture that the user has, but preprocessing lost strokes, or moved them.
"""
MAX_LINE_WIDTH = 8
"""A preprocessed negative field whose ink is no wider than this, in pixels, may be taken for a 1.

It is made again: what shows that it is a line of the form, `preprocess` leaves out.
"""
SEVERAL_DIGITS = 0.2
"""The share of the negative fields that have two to six digits, and not none."""
OTHER_DIGITS = 0.5
"""Where the data lack some of the ten digits, the share of the negatives that shows these."""
MAX_ATTEMPTS = 8
"""After this many images that cannot be used, the image stays black."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How training images are augmented. Every field but `added_strokes` and `negatives` is a share, 0 to 1.

    A share of the digits is weakly augmented, and where the user gives pen strokes, a share of the rest is
    drawn from these; "the other digits" below are what then remains.
    """

    added_strokes: float = 1.0
    """A factor, 0 to 1. At 1, of the other digits taken from MNIST, half of the 1s get a flag, a quarter of
    the 0s a slash, and a quarter of the 7s a bar.
    """
    stroke_glyphs: float = 0.2
    """Of the other digits, the share drawn from stroke skeletons instead of taken from MNIST."""
    font_glyphs: float = 0.08
    """Of the other digits, the share taken from handwriting fonts; at most 1 with `stroke_glyphs`."""
    negatives: float = 0.5
    """Negatives for each digit, 0 or more: 0.5 is five negatives for ten digits."""
    letters: float = 0.25
    """Of the negatives, the share that is letters of handwriting fonts."""
    pen_digits: float = 0.3
    """Of the digits that are not weakly augmented, the share drawn from the user's pen strokes, if there are
    any.
    """
    pen_non_digits: float = 0.3
    """Of the negatives, the share that is letters and signs of the user's pen strokes, if there are any."""
    stretched: float = 0.08
    """Of all images but weakly augmented digits, the share that is stretched to about a square before it is
    distorted, as programs leave digits that they cut out.
    """
    distorted: float = 1.0
    """Of all images, the share that is rotated, sheared, stretched and elastically distorted."""
    degraded: float = 0.7
    """Of the other digits, the share that goes through `degrade`. Negatives always do."""
    printed_fields: float = 0.1
    """Of the other digits, the share that is put into a printed field instead of being degraded."""
    empty_fields: float = 0.1
    """Of the negatives, the share that is a printed field which is empty or has several digits."""
    weakly_augmented: float = 0.4
    """Of the digits, the share that is taken from MNIST and only distorted, with WEAK_STRENGTH.

    They keep the accuracy on MNIST: with them the CNN misread 29 of 5,000 validation digits instead of 46.
    """


NO_AUGMENTATION = AugmentationConfig(
    added_strokes=0.0,
    stroke_glyphs=0.0,
    font_glyphs=0.0,
    negatives=0.0,
    letters=0.0,
    pen_digits=0.0,
    pen_non_digits=0.0,
    stretched=0.0,
    distorted=0.0,
    degraded=0.0,
    printed_fields=0.0,
    empty_fields=0.0,
    weakly_augmented=0.0,
)
"""Digits as their source has them."""


def augment_images(
    images: GrayImage,
    labels: NDArray[np.uint8],
    indices: NDArray[Any],
    seed: int,
    config: AugmentationConfig | None = None,
    split: Split = "train",
    pen_strokes: PenStrokes | None = None,
    other_digits: Dataset | None = None,
) -> GrayImage:
    """Return one augmented and preprocessed image for each index, (len(indices), 28, 28) uint8.

    `images` are (N, 28, 28) uint8 with `labels` (N,) uint8, 0 to 9. An index below N gives that image or
    another drawing of its digit; an index of N or more gives a negative, among them `other_digits`, which
    the network is not to read. Fonts are those of the split, and so must be the writers of `pen_strokes`. An
    image is made again, up to MAX_ATTEMPTS times, if `preprocess` finds no digit in it or if degrading it has
    changed it too much: the network must not learn a label that the image no longer shows.
    """
    source = _Source(images, labels, load_font_glyphs(split), pen_strokes, other_digits)
    augmented = np.zeros((len(indices), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for position, index in enumerate(indices.tolist()):
        result = _augment(source, index, seed, config or AugmentationConfig(), _choose_for_training)
        if result is not None and result.pixels is not None:
            augmented[position] = result.pixels
    return augmented


def augment_as_scanned(
    images: GrayImage,
    labels: NDArray[np.uint8],
    indices: NDArray[Any],
    seed: int,
    config: AugmentationConfig,
    split: Split,
    pen_strokes: PenStrokes | None = None,
    other_digits: Dataset | None = None,
) -> list[Preprocessed | None]:
    """Return what a scan would classify for each index: the result of `preprocess` with all its candidates.

    The arguments are those of `augment_images`. A digit that preprocessing has damaged is kept as long as it
    resembles the original, because a scan meets such digits too, and a threshold must hold for them. None
    stands for an image in which no digit was found in MAX_ATTEMPTS attempts.
    """
    source = _Source(images, labels, load_font_glyphs(split), pen_strokes, other_digits)
    return [_augment(source, index, seed, config, _choose_as_scanned) for index in indices.tolist()]


class _Source(NamedTuple):
    """The digits that are augmented, with their labels, and what else is drawn."""

    images: GrayImage
    labels: NDArray[np.uint8]
    font_glyphs: FontGlyphs
    pen_strokes: PenStrokes | None
    other_digits: Dataset | None


class _Augmented(NamedTuple):
    """An augmented image, preprocessed."""

    result: Preprocessed
    original: GrayImage | None = None
    """The preprocessed digit before it was degraded or put into a field; None for all other images."""
    min_correlation: float = 0.0
    """The least correlation of `original` with the digit of a training image."""
    is_negative_field: bool = False
    """Whether this is a field of a form that does not hold one digit."""
    may_be_line: bool = False
    """Whether what was found may be only a line of the form, and look like a 1."""


_Choose = Callable[[_Augmented, np.random.Generator], Preprocessed | None]
"""Chooses what is used of an augmented image; None if it is to be made again."""


def _augment(
    source: _Source, index: int, seed: int, config: AugmentationConfig, choose: _Choose
) -> Preprocessed | None:
    """Return the first of up to MAX_ATTEMPTS augmented images of which something can be used."""
    rng = np.random.default_rng((seed, index))
    for _ in range(MAX_ATTEMPTS):
        chosen = choose(_augment_once(source, index, rng, config), rng)
        if chosen is not None:
            return chosen
    return None


def _augment_once(
    source: _Source, index: int, rng: np.random.Generator, config: AugmentationConfig
) -> _Augmented:
    images, labels, font_glyphs, pen_strokes, other_digits = source
    strength, degraded_share, field_share = 1.0, config.degraded, config.printed_fields
    is_negative = index >= len(images)
    if is_negative:
        # No share of 0 draws a random number: the images of a seed do not change with what is not used.
        if config.empty_fields and rng.random() < config.empty_fields:
            field = preprocess(_draw_negative_field(images, rng, font_glyphs))
            return _Augmented(field, is_negative_field=True, may_be_line=True)
        if other_digits is not None and rng.random() < OTHER_DIGITS:
            chosen = int(rng.integers(len(other_digits.labels)))
            label = int(other_digits.labels[chosen])
            image = vary_handwriting(other_digits.images[chosen], label, rng, config, font_glyphs)
        elif pen_strokes and pen_strokes.non_digits and rng.random() < config.pen_non_digits:
            image = draw_pen_non_digit(pen_strokes, rng)
        else:
            image = draw_negative(images, labels, rng, config.letters, font_glyphs)
        degraded_share = 1.0
    elif rng.random() < config.weakly_augmented:
        image = images[index]
        strength, degraded_share, field_share = WEAK_STRENGTH, 0.0, 0.0
    elif pen_strokes and rng.random() < config.pen_digits:
        image = draw_pen_digit(pen_strokes, int(labels[index]), rng)
    else:
        image = vary_handwriting(images[index], int(labels[index]), rng, config, font_glyphs)
    if degraded_share and config.stretched and rng.random() < config.stretched:
        image = stretch_to_square(image, rng)
    if rng.random() < config.distorted:
        image = distort(image, rng, strength)
    result = preprocess(image)
    if field_share and rng.random() < field_share:
        field = preprocess(draw_printed_field(image, (images, font_glyphs.letters), rng).picture)
        if is_negative:
            return _Augmented(field, is_negative_field=True)
        shown = field if result.pixels is not None else result
        return _Augmented(shown, result.pixels, MIN_FIELD_CORRELATION)
    if rng.random() >= degraded_share:
        return _Augmented(result)
    return _Augmented(preprocess(degrade(image, rng)), result.pixels, MIN_CORRELATION)


def _draw_negative_field(images: GrayImage, rng: np.random.Generator, font_glyphs: FontGlyphs) -> GrayImage:
    """Return the picture of a printed field that is empty or has several digits."""
    glyphs = (images, font_glyphs.letters)
    if rng.random() < SEVERAL_DIGITS:
        count = int(rng.choice((2, 2, 2, 3, 4, 5, 6)))
        digits = [distort(images[index], rng) for index in rng.integers(0, len(images), count).tolist()]
        return draw_printed_field(join_digits(digits, rng), glyphs, rng).picture
    return draw_empty_field(glyphs, rng).picture


def _choose_for_training(augmented: _Augmented, rng: np.random.Generator) -> Preprocessed | None:
    """Return the candidate that still shows the digit; a random one of a field without a digit."""
    candidates = list_candidates(augmented.result)
    if not candidates:
        return None
    if augmented.is_negative_field:
        chosen = candidates[int(rng.integers(len(candidates)))]
        return None if augmented.may_be_line and _is_as_thin_as_a_line(chosen) else chosen
    if augmented.original is None:
        return candidates[0]
    best, correlation = _find_most_alike(augmented.original, candidates)
    return best if correlation >= augmented.min_correlation else None


def _choose_as_scanned(augmented: _Augmented, rng: np.random.Generator) -> Preprocessed | None:
    """Return the whole result, unless it no longer shows what its label says."""
    candidates = list_candidates(augmented.result)
    if not candidates:
        return None
    if augmented.may_be_line and any(_is_as_thin_as_a_line(candidate) for candidate in candidates):
        return None
    if augmented.original is not None:
        _, correlation = _find_most_alike(augmented.original, candidates)
        if correlation < MIN_SCANNED_CORRELATION:
            return None
    return augmented.result


def _is_as_thin_as_a_line(negative: Preprocessed) -> bool:
    """Tell whether the ink of a field without a digit may be taken for a 1; see MAX_LINE_WIDTH."""
    if negative.pixels is None:
        return True
    return bool(np.count_nonzero(negative.pixels.any(axis=0)) <= MAX_LINE_WIDTH)


def _find_most_alike(
    original: GrayImage, candidates: Sequence[Preprocessed]
) -> tuple[Preprocessed | None, float]:
    """Return the candidate that is most like the original, and their correlation."""
    best, best_correlation = None, -1.0
    for candidate in candidates:
        correlation = -1.0 if candidate.pixels is None else _correlation(original, candidate.pixels)
        if correlation >= best_correlation:
            best, best_correlation = candidate, correlation
    return best, best_correlation


def _correlation(first: GrayImage, second: GrayImage) -> float:
    """Return the correlation, -1 to 1, of two images of one shape after a slight blur."""
    first, second = (cv2.GaussianBlur(image, (5, 5), 1.2).astype(np.float32) for image in (first, second))
    return float(cv2.matchTemplate(first, second, cv2.TM_CCOEFF_NORMED)[0, 0])


def vary_handwriting(
    digit: GrayImage,
    label: int,
    rng: np.random.Generator,
    config: AugmentationConfig,
    font_glyphs: FontGlyphs,
) -> GrayImage:
    """Return the digit in another handwriting, (28, 28) uint8, or `digit` itself.

    It is drawn from a stroke skeleton, taken from a font, or given a stroke that MNIST's digits lack: a 1 its
    flag, a 0 its slash, a 7 its bar.
    """
    source = rng.random()
    if source < config.stroke_glyphs:
        return draw_digit(label, rng)
    if source < config.stroke_glyphs + config.font_glyphs:
        return choose_glyph(font_glyphs.digits[label], rng)
    probability = config.added_strokes * (0.5 if label == 1 else 0.25)
    if label not in STROKE_LABELS or rng.random() > probability:
        return digit
    return add_stroke(digit, label, rng)
