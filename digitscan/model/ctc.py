"""Connectionist temporal classification (CTC): from the symbols at each step of a line to its digits.

After Graves et al., "Connectionist Temporal Classification" (2006). The network gives for each step, a column
of a few pixels, the probability of each symbol. A path has one symbol for each step. Its labelling is what is
left when repeated symbols are merged and then the blanks removed. A labelling's probability is the sum of
those of all its paths.

In this module, probabilities are an array (T, C) of T steps whose rows sum to 1; the last symbol is the
blank, and a labelling is a tuple of the others. All is computed in float64 without logarithms: a labelling
that is less probable than 1e-300, as on a long line of noise, counts as impossible.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

POINT = 10
"""The symbol of a point or a comma; 0 to 9 are the digits."""
MINUS = 11
"""The symbol of a minus or another dash."""
BLANK = 12
"""The symbol for nothing: between two symbols, and the paper around them."""
SYMBOL_COUNT = 13

MIN_SYMBOL_PROBABILITY = 2e-3
"""The beam search extends labellings only by symbols that are as probable at a step."""
MIN_RELATIVE_PROBABILITY = 1e-3
"""The beam search drops labellings that are less probable than this share of the best."""

STEPS_AT_ONCE = 64
"""Steps of which the probabilities of all labellings' states are in memory at the same time."""

Labelling = tuple[int, ...]


class Candidate(NamedTuple):
    """A labelling and its probability."""

    labelling: Labelling
    probability: float


def merge_separators(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities (T, 11) of the digits and a blank, of those (T, 13) of all symbols.

    Points and minuses count as blanks: they are no part of the number, and they stand between two equal
    digits as a blank does.
    """
    merged = probabilities[:, : POINT + 1].astype(np.float64)
    merged[:, POINT] = probabilities[:, POINT:].sum(axis=1, dtype=np.float64)
    return merged


def find_best_path(probabilities: NDArray[np.floating]) -> Labelling:
    """Return the labelling of the most probable path."""
    blank = probabilities.shape[1] - 1
    path = probabilities.argmax(axis=1)
    is_start = np.diff(path, prepend=blank) != 0
    return tuple(path[is_start & (path != blank)].tolist())


def compute_probabilities(
    probabilities: NDArray[np.floating], labellings: Sequence[Labelling]
) -> NDArray[np.float64]:
    """Return the exact probability (N,) of each of N labellings, by the forward algorithm."""
    of_view: NDArray[np.float64] = compute_view_probabilities([probabilities], labellings)[0]
    return of_view


def compute_view_probabilities(
    views: Sequence[NDArray[np.floating]], labellings: Sequence[Labelling]
) -> NDArray[np.float64]:
    """Return the probability (V, N) of each of N labellings in each of V arrays of probabilities.

    The arrays may have different numbers of steps: all are computed at once, as if blanks came behind the
    shorter ones. The states are those of Graves: a blank before, between and behind the symbols. All
    labellings have the states of the longest; what comes behind their own last one is not counted.
    """
    blank = views[0].shape[1] - 1
    lengths = np.array([len(labelling) for labelling in labellings], np.intp)
    states = np.full((len(labellings), 2 * int(lengths.max(initial=0)) + 1), blank)
    for row, labelling in zip(states, labellings, strict=True):
        row[1 : 2 * len(labelling) : 2] = labelling
    # A symbol may follow another one without a blank between them.
    may_skip = np.zeros(states.shape)
    may_skip[:, 1::2] = 1.0
    may_skip[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    steps = np.zeros((max(map(len, views)), len(views), blank + 1))
    steps[..., blank] = 1.0
    for index, view in enumerate(views):
        steps[: len(view), index] = view

    # Two places before the first state. The second is the start, from which each path goes on at once.
    forward = np.zeros((len(views), len(states), 2 + states.shape[1]))
    forward[..., 1] = 1.0
    stay, after_one, after_two = forward[..., 2:], forward[..., 1:-1], forward[..., :-2]
    moved = np.empty((len(views), *states.shape))
    may_skip = np.broadcast_to(may_skip, moved.shape).copy()
    for first in range(0, len(steps), STEPS_AT_ONCE):
        # Taken for many steps at once, which is faster; for all of a long line it would be too large.
        for emission in steps[first : first + STEPS_AT_ONCE].take(states, axis=2):
            np.multiply(may_skip, after_two, out=moved)
            np.add(moved, after_one, out=moved)
            np.add(stay, moved, out=stay)
            np.multiply(stay, emission, out=stay)
            forward[..., 1] = 0.0
    rows, last = np.arange(len(states)), 2 * lengths
    total: NDArray[np.float64] = forward[:, rows, last + 1] + forward[:, rows, last + 2]
    return total


def rank_labellings(
    views: Sequence[NDArray[np.floating]], labellings: Collection[Labelling]
) -> list[Candidate]:
    """Return those of some labellings that are possible, with their probabilities, the best one first.

    `views` are the probabilities of one line, one array (T, C) or more: that of a labelling is the mean over
    them.
    """
    labellings = sorted(labellings)
    means = compute_view_probabilities(views, labellings).mean(axis=0).tolist()
    candidates = [Candidate(*each) for each in zip(labellings, means, strict=True) if each[1] > 0.0]
    # Sorting is stable: equally probable ones stay in the order of their digits.
    return sorted(candidates, key=lambda candidate: -candidate.probability)


def follow_labellings(probabilities: NDArray[np.floating], width: int) -> list[Labelling]:
    """Return probable labellings, at most `width`.

    They are found by prefix beam search (Hannun et al., "First-Pass Large Vocabulary Continuous Speech
    Recognition using Bi-Directional Recurrent DNNs", 2014). Where the steps are certain, few labellings are
    followed, and it is fast.
    """
    is_followed = probabilities[:, :-1] >= MIN_SYMBOL_PROBABILITY
    # Of each labelling so far: the probability of its paths that end in a blank, and of those that do not.
    beam: dict[Labelling, tuple[float, float]] = {(): (1.0, 0.0)}
    had_symbols = True
    for row, followed in zip(probabilities.tolist(), is_followed.tolist(), strict=True):
        symbols = [symbol for symbol, is_one in enumerate(followed) if is_one]
        if symbols:
            beam = _prune(_extend(beam, row, symbols), width)
        elif had_symbols:
            # Most steps are a blank and nothing else: that changes no order, so the first of them is enough.
            beam = {labelling: (sum(parts), 0.0) for labelling, parts in beam.items()}
        had_symbols = bool(symbols)
    return list(beam)


def _extend(
    beam: dict[Labelling, tuple[float, float]], row: list[float], symbols: list[int]
) -> dict[Labelling, tuple[float, float]]:
    """Return the labellings after one more step, whose probabilities are `row`."""
    extended: dict[Labelling, tuple[float, float]] = {}
    for labelling, (with_blank, without_blank) in beam.items():
        total = with_blank + without_blank
        last = labelling[-1] if labelling else -1
        repeated = without_blank * row[last] if labelling else 0.0
        _, longer = extended.get(labelling, (0.0, 0.0))
        extended[labelling] = total * row[-1], longer + repeated
        for symbol in symbols:
            # A symbol that is repeated is a new one only behind a blank.
            added = (with_blank if symbol == last else total) * row[symbol]
            key = (*labelling, symbol)
            blank, longer = extended.get(key, (0.0, 0.0))
            extended[key] = blank, longer + added
    return extended


def _prune(beam: dict[Labelling, tuple[float, float]], width: int) -> dict[Labelling, tuple[float, float]]:
    """Return the most probable labellings, scaled so that the best one has probability 1."""
    totals = {labelling: blank + longer for labelling, (blank, longer) in beam.items()}
    best = max(totals.values(), default=0.0)
    limit = best * MIN_RELATIVE_PROBABILITY
    kept = [labelling for labelling, total in totals.items() if total > limit]
    if len(kept) > width:
        kept.sort(key=totals.__getitem__, reverse=True)
        del kept[width:]
    return {labelling: (beam[labelling][0] / best, beam[labelling][1] / best) for labelling in kept}


def compute_length_probabilities(probabilities: NDArray[np.floating], max_length: int) -> NDArray[np.float64]:
    """Return the exact probability that a labelling has 0, 1, ... `max_length` symbols.

    The sum over all labellings of each length is computed step by step, from the probabilities of each
    length and last symbol so far.
    """
    values = np.asarray(probabilities, np.float64)
    # Paths that end in a blank, by length; and those that end in a symbol, by length and symbol.
    with_blank = np.zeros(max_length + 1)
    with_blank[0] = 1.0
    with_symbol = np.zeros((max_length + 1, values.shape[1] - 1))
    for row in values:
        total = with_blank + with_symbol.sum(axis=1)
        # Another symbol behind a symbol, or any behind a blank, is one more. A difference of equal numbers
        # may be rounded to less than 0.
        longer = np.maximum(total[:-1, None] - with_symbol[:-1], 0.0)
        with_symbol[1:] += longer
        with_symbol *= row[:-1]
        with_blank = total * row[-1]
    length_probabilities: NDArray[np.float64] = with_blank + with_symbol.sum(axis=1)
    return length_probabilities
