"""Compare two readers on the same images: whether one is better, or the difference may be chance."""

from __future__ import annotations

from dataclasses import dataclass

from digitscan.evaluation.metrics import Answers

MAX_CHANCE = 0.05
"""With a smaller probability, a difference is called no chance."""


@dataclass(frozen=True)
class Comparison:
    """How often only one of two readers was right."""

    better: int
    """Images that the first reader read right and the second wrong."""
    worse: int
    """Images that the first reader read wrong and the second right."""
    p_value: float
    """The probability, 0 to 1, of so large a difference if both readers were equally good."""

    @property
    def is_chance(self) -> bool:
        """Whether two equally good readers would often differ so much."""
        return self.p_value >= MAX_CHANCE

    def describe(self) -> str:
        """Return the result in plain words.

        >>> Comparison(31, 9, 0.0007).describe()
        'better on 31 images, worse on 9: not chance (p = 0.0007)'
        """
        if not self.better and not self.worse:
            return "right on the same images"
        images = "image" if self.better == 1 else "images"
        p_value = f"p = {self.p_value:.4f}" if self.p_value >= 0.0001 else "p < 0.0001"
        verdict = f"{'may be chance' if self.is_chance else 'not chance'} ({p_value})"
        return f"better on {self.better:,} {images}, worse on {self.worse:,}: {verdict}"


def compare(first: Answers, second: Answers) -> Comparison:
    """Return the exact McNemar test of two readers' answers to the same images (McNemar 1947).

    Only images that one of them read right and the other wrong tell which is better.
    """
    from scipy.stats import binomtest

    better = int((first.is_right & ~second.is_right).sum())
    worse = int((~first.is_right & second.is_right).sum())
    p_value = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return Comparison(better, worse, p_value)
