"""Digits and letters of handwriting fonts with open licences: hands that MNIST never saw.

`docs/make_font_glyphs.py` makes the array; `data/FONT_GLYPHS.md` names the fonts and who holds their rights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUNDLED = Path(__file__).resolve().parents[2] / "data" / "font_glyphs.npz"
CHECKING = 6
"""Every sixth font is kept for validation: to the network, a stranger's hand."""


@dataclass(frozen=True)
class FontGlyphs:
    """Images (N, 28, 28) uint8, ink bright on black, of each digit 0 to 9, and of letters unlike digits."""

    digits: tuple[NDArray[Any], ...]
    letters: NDArray[Any]


@lru_cache(maxsize=2)
def load_font_glyphs(learning: bool) -> FontGlyphs:
    """Return the fonts to learn from, or those that are kept for validation."""
    with np.load(BUNDLED, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    digits = arrays["digits"][(arrays["digit_fonts"] % CHECKING > 0) == learning]
    labels = arrays["digit_labels"][(arrays["digit_fonts"] % CHECKING > 0) == learning]
    letters = arrays["letters"][(arrays["letter_fonts"] % CHECKING > 0) == learning]
    return FontGlyphs(tuple(digits[labels == label] for label in range(10)), letters)


def random_glyph(pictures: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Return one of the pictures (N, 28, 28), any of them."""
    return np.asarray(pictures[int(random.integers(len(pictures)))])
