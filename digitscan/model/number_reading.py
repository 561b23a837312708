"""Read a number: from the probabilities of a line's symbols to the digits, the confidence and the row.

Confidences are calibrated by one temperature, which the steps' probabilities get before they are decoded (Guo
et al., "On Calibration of Modern Neural Networks", 2017). What is known of the numbers beforehand decides
between readings: they are compared given that one of the numbers that are allowed is there, or none at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.model.classifier import MIN_RUNNER_UP_PROBABILITY
from digitscan.model.ctc import (
    MINUS,
    POINT,
    Candidate,
    Labelling,
    compute_length_probabilities,
    find_best_path,
    follow_labellings,
    merge_separators,
    rank_labellings,
)
from digitscan.model.metadata import ModelMetadata
from digitscan.model.number_rules import NumberRules
from digitscan.prediction import Status

SEARCH_WIDTH = 10
"""How many readings are compared."""
MIN_RUNNER_UP_SHARE = 0.5
"""A second reading that has this share of the best one's probability is close to it."""
MIN_LIKELY_SHARE = 0.001
"""Of the numbers that are named to explain a reading, each has this share of the best one's probability."""
MIN_NONE_PROBABILITY = 0.3
"""From this probability on there is no number, if none is more probable; with less, one is named, for review.

That no single number is more probable is not enough: they may be many, and of a row without a number nobody
looks at the picture. Of composed pictures, 1.1 % of the numbers have none then, and 67 % of the words; with
no such limit, these were 2.9 and 82 %.
"""
MIN_ALLOWED_PROBABILITY = 0.3
"""Where it is less probable that a number is allowed, the picture contradicts what is known: `review`.

With less, one number that was written with a digit too many would be read as another one, and be `ok`.
"""


class NumberReading(NamedTuple):
    """What was read of a line."""

    number: str
    """The digits; empty where there most probably is none."""
    confidence: float
    """The probability, 0 to 1, that all of `number` is right, given what is known; NaN if there is none."""
    digit_confidences: tuple[float, ...] = ()
    """The probability that each digit is right, given that it is one of so many."""
    alternative: str | None = None
    """Another reading, where it is not much less probable, or would be the best if nothing were known."""
    notes: tuple[str, ...] = ()
    """What stands beside the digits, and how the number differs from what is known."""
    needs_review: bool = False
    """Whether a person must look, however high the confidence is."""
    likely: tuple[tuple[str, float], ...] = ()
    """The likely numbers, "" for none, with their probabilities given what is known, the best one first."""


class NumberDecision(NamedTuple):
    """What a row says of a line; the fields are those of `Decision`."""

    number: str | None
    confidence: float | None
    status: Status
    note: str


class LineView(NamedTuple):
    """What the network says of one view of a line, prepared to be read."""

    symbols: NDArray[np.float64]
    """The probabilities (T, 13) of the symbols at each step, with the model's temperature."""
    digits: NDArray[np.float64]
    """Those (T, 11) of the digits and of nothing, as `merge_separators` gives them."""
    labellings: tuple[Labelling, ...]
    """The likely numbers."""
    is_valid: bool = True
    """Whether they are probabilities: the network of a broken model may give NaN."""


def prepare_view(probabilities: NDArray[np.floating], temperature: float = 1.0) -> LineView:
    """Return a view of a line, from the probabilities (T, 13) of the symbols at its T steps.

    `temperature` is what their logarithms are divided by, as in `ModelMetadata`.
    """
    symbols = apply_temperature(probabilities, temperature)
    if not np.isfinite(symbols).all():
        return LineView(symbols, symbols, (), is_valid=False)
    digits = merge_separators(symbols)
    return LineView(symbols, digits, tuple(follow_labellings(digits, SEARCH_WIDTH)))


def read_number(views: Sequence[LineView], rules: NumberRules, digit_weight: float = 1.0) -> NumberReading:
    """Return the number in a line, of which there are some views.

    The probability of a number is the mean over the views, multiplied by `digit_weight` for each of its
    digits, as a share of what all numbers have then. More than 1 corrects a network that leaves out digits.
    """
    if not all(view.is_valid for view in views):
        return NumberReading("", math.nan)
    digits = [view.digits for view in views]
    candidates = rank_labellings(digits, {each for view in views for each in view.labellings})
    if not candidates:
        return NumberReading("", 0.0)
    total = _compute_weighted_total(candidates, digit_weight)
    candidates = _weight_digits(candidates, digit_weight, total)
    allowed, allowed_probability = _apply_rules(digits, candidates, rules, digit_weight, total)
    is_contradicted = not allowed or allowed_probability < MIN_ALLOWED_PROBABILITY
    if not allowed:
        allowed, allowed_probability = [each for each in candidates if each.labelling], 1.0
    likely = _list_likely(candidates, allowed, allowed_probability)
    first = candidates[0]
    if not first.labelling and (len(candidates) == 1 or first.probability >= MIN_NONE_PROBABILITY):
        return NumberReading("", first.probability, likely=likely)
    best = allowed[0]
    may_be_empty = any(not each.labelling and each.probability > best.probability for each in candidates)
    notes, has_minus_sign = _describe_separators(find_best_path(views[0].symbols))
    objection = rules.find_objection(_to_text(first.labelling)) if is_contradicted else ""
    return NumberReading(
        _to_text(best.labelling),
        min(best.probability / allowed_probability, 1.0),
        _compute_digit_confidences(best.labelling, allowed),
        _find_alternative(allowed, allowed_probability, first),
        (*notes, objection) if objection else notes,
        needs_review=has_minus_sign or is_contradicted or may_be_empty,
        likely=likely,
    )


def _compute_weighted_total(candidates: Sequence[Candidate], digit_weight: float) -> float:
    """Return the sum over all numbers of their probabilities, each weighted for its digits.

    Numbers that are not among the candidates count as if they had as many digits as the first of these.
    """
    rest = max(0.0, 1.0 - sum(each.probability for each in candidates))
    return rest * digit_weight ** len(candidates[0].labelling) + sum(
        each.probability * digit_weight ** len(each.labelling) for each in candidates
    )


def _weight_digits(candidates: Sequence[Candidate], digit_weight: float, total: float) -> list[Candidate]:
    """Return the candidates with their probabilities weighted for their digits, the best one first."""
    weighted = [
        Candidate(labelling, probability * digit_weight ** len(labelling) / total)
        for labelling, probability in candidates
    ]
    return sorted(weighted, key=lambda candidate: -candidate.probability)


def apply_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return probabilities (T, C) whose logarithms are divided by a temperature; each row sums to 1."""
    powers = np.asarray(probabilities, np.float64) ** (1.0 / temperature)
    with np.errstate(invalid="ignore"):  # a row that is all 0 becomes NaN, as are the rows of a broken model
        scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def _apply_rules(
    views: Sequence[NDArray[np.float64]],
    candidates: Sequence[Candidate],
    rules: NumberRules,
    digit_weight: float,
    total: float,
) -> tuple[list[Candidate], float]:
    """Return the numbers that are allowed, and the probability of all that may be there.

    That is a number that is allowed, or none, as fields may be empty whatever is known. Of numbers that are
    not among the candidates, only the length is looked at: the confidence is rather too low than too high.
    Lengths are weighted as the candidates are, or a reading would be surer than what is known makes it.
    """
    if rules.allow_all:
        return [each for each in candidates if each.labelling], 1.0
    allowed_probability = 1.0
    if rules.max_length is not None:
        lengths = np.mean([compute_length_probabilities(view, rules.max_length) for view in views], axis=0)
        lengths *= digit_weight ** np.arange(len(lengths)) / total
        is_allowed = [count == 0 or rules.allows_length(count) for count in range(len(lengths))]
        allowed_probability = float(lengths[is_allowed].sum())
    allowed = []
    for candidate in candidates:
        number = _to_text(candidate.labelling)
        if not number or not rules.allows_length(len(number)):
            continue
        if rules.passes_check(number):
            allowed.append(candidate)
        else:
            allowed_probability -= candidate.probability
    # Rounding must not leave less than there is.
    return allowed, max([allowed_probability, *(each.probability for each in allowed)])


def _list_likely(
    candidates: Sequence[Candidate], allowed: Sequence[Candidate], allowed_probability: float
) -> tuple[tuple[str, float], ...]:
    """Return the candidates that are allowed, and that there is no number, as far as they are likely."""
    numbers = {candidate.labelling for candidate in allowed}
    possible = [each for each in candidates if not each.labelling or each.labelling in numbers]
    return tuple(
        (_to_text(labelling), min(probability / allowed_probability, 1.0))
        for labelling, probability in possible[:SEARCH_WIDTH]
        if probability >= MIN_LIKELY_SHARE * possible[0].probability
    )


def _compute_digit_confidences(best: Labelling, candidates: Sequence[Candidate]) -> tuple[float, ...]:
    """Return which share of the probability of all candidates as long as the best has each of its digits."""
    similar = [candidate for candidate in candidates if len(candidate.labelling) == len(best)]
    total = sum(candidate.probability for candidate in similar)
    return tuple(
        sum(each.probability for each in similar if each.labelling[place] == digit) / total
        for place, digit in enumerate(best)
    )


def _find_alternative(
    allowed: Sequence[Candidate], allowed_probability: float, first: Candidate
) -> str | None:
    """Return the reading to name beside the best of those allowed; `first` is the best if all were."""
    best = allowed[0]
    if first.labelling and first.labelling != best.labelling:
        return _to_text(first.labelling)
    if len(allowed) > 1:
        second = allowed[1]
        limit = min(MIN_RUNNER_UP_PROBABILITY * allowed_probability, MIN_RUNNER_UP_SHARE * best.probability)
        if second.probability >= limit:
            return _to_text(second.labelling)
    return None


def _describe_separators(symbols: Labelling) -> tuple[tuple[str, ...], bool]:
    """Return the notes about the points and dashes of a line, and whether a minus is before the digits."""
    notes = []
    if POINT in symbols:
        notes.append("with a point")
    if MINUS in symbols:
        notes.append("with a minus")
    first_digit = next((place for place, symbol in enumerate(symbols) if symbol < POINT), 0)
    return tuple(notes), MINUS in symbols[:first_digit]


def _to_text(labelling: Labelling) -> str:
    return "".join(map(str, labelling))


def decide_number(
    reading: NumberReading,
    metadata: ModelMetadata,
    min_confidence: float | None = None,
    needs_review: bool = False,
) -> NumberDecision:
    """Turn a reading into a row's number, confidence, status and note; `reading.notes` are not repeated.

    A row is `ok` from the confidence `min_confidence` on or, where that is None, from the model's own limit
    on, unless `needs_review` or the reading says that a person must look.
    """
    number, confidence = reading.number, reading.confidence
    if math.isnan(confidence):
        return NumberDecision(None, None, Status.ERROR, "the model gave no number")
    if not number:
        return NumberDecision(None, None, Status.NO_DIGIT, "no digits")
    limit = metadata.ok_confidence if min_confidence is None else min_confidence
    is_confident = limit is not None and confidence >= limit
    if is_confident and not needs_review and not reading.needs_review:
        return NumberDecision(number, confidence, Status.OK, "")
    if reading.alternative is not None:
        note = f"{number} or {reading.alternative}"
    elif is_confident:
        note = ""  # what is to be looked at, other notes say
    else:
        note = "model not calibrated" if limit is None else "doubtful"
    return NumberDecision(number, confidence, Status.REVIEW, note)
