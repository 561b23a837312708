"""Digits and letters of handwriting fonts with open licences: handwriting that differs from MNIST's.

`augment` takes digits from here, `negatives` takes letters. `docs/make_font_glyphs.py` makes the bundled
array; `data/FONT_GLYPHS.md` names the fonts, their copyright holders and their licences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.datasets import Split

FONT_GLYPHS_PATH = Path(__file__).resolve().parents[2] / "data" / "font_glyphs.npz"
VALIDATION_FONT_STEP = 6
"""Every sixth font is kept for validation, so that it measures handwriting the network was not trained on."""


@dataclass(frozen=True)
class FontGlyphs:
    """The glyphs of one split's fonts: (N, 28, 28) uint8 each, light ink on black, shaped as MNIST's digits.

    `digits` has one array for each digit 0 to 9. `letters` are those that no common handwriting writes like a
    digit.
    """

    digits: tuple[NDArray[Any], ...]
    letters: NDArray[Any]


@lru_cache(maxsize=2)
def load_font_glyphs(split: Split) -> FontGlyphs:
    """Return the glyphs of the fonts for training or for validation."""
    with np.load(FONT_GLYPHS_PATH, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    is_digit_in_split = _is_in_split(arrays["digit_fonts"], split)
    digits = arrays["digits"][is_digit_in_split]
    labels = arrays["digit_labels"][is_digit_in_split]
    letters = arrays["letters"][_is_in_split(arrays["letter_fonts"], split)]
    return FontGlyphs(tuple(digits[labels == label] for label in range(10)), letters)


def _is_in_split(fonts: NDArray[np.uint16], split: Split) -> NDArray[np.bool_]:
    """Return for each font index (N,) whether the font belongs to the split."""
    is_validation: NDArray[np.bool_] = fonts % VALIDATION_FONT_STEP == 0
    return is_validation if split == "val" else ~is_validation


def choose_glyph(glyphs: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return one of the glyphs (N, 28, 28), chosen at random."""
    return np.asarray(glyphs[int(rng.integers(len(glyphs)))])
