"""Scores of a reader on labelled images: accuracy, scores by digit, calibration, coverage against errors.

The counts and scores are scikit-learn's, the intervals and tests scipy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_DIGIT = 10
"""The label of an image that shows no digit, and the prediction for one in which none was read."""
FIRST_NUMBER = NO_DIGIT + 1
"""The first label that stands for a whole number, see `Answers.numbers`."""
CONFIDENCE_LEVEL = 0.95
"""Of an interval: it holds the true value with this probability."""
CALIBRATION_BINS = 10
COVERAGE_THRESHOLDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""The thresholds of `--min-confidence` that the coverage is said for."""


def name_label(label: int) -> str:
    """Return what to call a label or a prediction: the digit, or none."""
    return "none" if label == NO_DIGIT else str(label)


@dataclass(frozen=True)
class Share:
    """A share of some images, with the interval in which the share of all such images probably lies."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share, 0 to 1; nan of no images."""
        return self.count / self.total if self.total else float("nan")


@dataclass(frozen=True)
class Answers:
    """What was read in labelled images, and what they show. All arrays have one value for each image."""

    names: tuple[str, ...]
    """What to call the images."""
    labels: NDArray[np.int64]
    """0 to 9, or NO_DIGIT."""
    predictions: NDArray[np.int64]
    """0 to 9, or NO_DIGIT where none was read or the file could not be."""
    confidences: NDArray[np.float64]
    """The confidence in the digit, 0 to 1; 0 where there is none."""
    is_ok: NDArray[np.bool_]
    """Whether the status was `ok`."""
    may_be_ok: NDArray[np.bool_]
    """Whether it would be `ok` with a threshold of 0: some images need review however sure the model is."""
    numbers: tuple[str, ...] | None = None
    """Of images of whole numbers: those that the labels and predictions from FIRST_NUMBER on stand for, in
    order; NO_DIGIT stands for no number. None of images of single digits."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether the label was read; of an image without a digit, whether none was."""
        is_right: NDArray[np.bool_] = self.predictions == self.labels
        return is_right

    def find_number(self, label: int) -> str:
        """Return the number that a label or a prediction stands for, "" for none."""
        return "" if self.numbers is None or label == NO_DIGIT else self.numbers[label - FIRST_NUMBER]

    def name_label(self, label: int) -> str:
        """Return what to call a label or a prediction: the digit or the number, or none."""
        return name_label(label) if label < FIRST_NUMBER else self.find_number(label)


@dataclass(frozen=True)
class DigitScores:
    """How well one digit is read."""

    label: int
    count: int
    """The images that show it."""
    precision: float
    """Of the images that were read as this digit, the share that shows it; nan if there are none."""
    recall: float
    """Of the images that show it, the share that was read as it."""
    f1: float
    """The harmonic mean of both; 0 if nothing was read right."""


@dataclass(frozen=True)
class CalibrationBin:
    """The images with a confidence in one tenth of 0 to 1."""

    count: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True)
class CoveragePoint:
    """What a threshold for `ok` gives."""

    threshold: float
    ok: Share
    """Of all images that show a digit, those that are `ok`."""
    wrong: Share
    """Of the `ok` rows of images that show a digit, those that are wrong."""


@dataclass(frozen=True)
class Metrics:
    """All scores of one reader on one set of images."""

    accuracy: Share
    """Of the images that show a digit, those that were read right."""
    ok: Share
    """Of the images that show a digit, those with status `ok`."""
    wrong_ok: Share
    """Of these, those that are wrong."""
    rejected: Share
    """Of the images that show a digit, those in which none was read."""
    negatives_rejected: Share
    """Of the images that show no digit, those in which none was read."""
    negatives_ok: Share
    """Of the images that show no digit, those with status `ok`."""
    digits: tuple[DigitScores, ...]
    """Of each digit that an image shows."""
    confusion: NDArray[np.int64] | None
    """(11, 11): how many images of each label were read as what; NO_DIGIT is the last row and column. None of
    whole numbers."""
    digit_error_rate: float | None
    """Of whole numbers: how many digits were read wrong, left out or added, for each digit that is there.
    None of single digits."""
    calibration_error: float
    """The mean distance of confidence and accuracy over the bins (ECE, Guo et al. 2017); nan of no images."""
    calibration: tuple[CalibrationBin, ...]
    """The bins that hold an image, by confidence."""
    coverage: tuple[CoveragePoint, ...]
    """What other thresholds give."""


def count_confusions(labels: NDArray[Any], predictions: NDArray[Any]) -> NDArray[np.int64]:
    """Return the confusion matrix (11, 11) of labels and predictions (N,), 0 to 9 or NO_DIGIT."""
    from sklearn.metrics import confusion_matrix

    counts: NDArray[np.int64] = confusion_matrix(labels, predictions, labels=range(NO_DIGIT + 1))
    return counts


def compute_share(count: int, total: int) -> Share:
    """Return a share with its 95 % interval (Wilson 1927), which is 0 to 1 of no images."""
    from scipy.stats import binomtest

    if not total:
        return Share(0, 0, 0.0, 1.0)
    interval = binomtest(count, total).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return Share(count, total, float(interval.low), float(interval.high))


def compute_metrics(answers: Answers) -> Metrics:
    """Return all scores. Images without a digit count only where that is said."""
    is_digit = answers.labels != NO_DIGIT
    is_right, is_read = answers.is_right, answers.predictions != NO_DIGIT
    is_single = answers.numbers is None
    error, bins = compute_calibration(answers.confidences[is_digit & is_read], is_right[is_digit & is_read])
    return Metrics(
        accuracy=_share_of(is_right, is_digit),
        ok=_share_of(answers.is_ok, is_digit),
        wrong_ok=_share_of(~is_right, is_digit & answers.is_ok),
        rejected=_share_of(~is_read, is_digit),
        negatives_rejected=_share_of(~is_read, ~is_digit),
        negatives_ok=_share_of(answers.is_ok, ~is_digit),
        digits=_score_digits(answers) if is_single else (),
        confusion=count_confusions(answers.labels, answers.predictions) if is_single else None,
        digit_error_rate=None if is_single else compute_digit_error_rate(answers),
        calibration_error=error,
        calibration=bins,
        coverage=tuple(measure_coverage(answers, threshold) for threshold in COVERAGE_THRESHOLDS),
    )


def compute_digit_error_rate(answers: Answers) -> float:
    """Return the edit distance of all numbers and what was read, for each digit of the numbers.

    It is the character error rate of text recognition. Images without a number are left out; nan if there is
    no other.
    """
    pairs = [
        (answers.find_number(label), answers.find_number(prediction))
        for label, prediction in zip(answers.labels.tolist(), answers.predictions.tolist(), strict=True)
        if label != NO_DIGIT
    ]
    digit_count = sum(len(number) for number, _ in pairs)
    return sum(edit_distance(*pair) for pair in pairs) / digit_count if digit_count else float("nan")


def edit_distance(first: str, second: str) -> int:
    """Return how many characters must be changed, added or taken away (Levenshtein 1966).

    >>> edit_distance("407", "4017"), edit_distance("407", "401"), edit_distance("407", "")
    (1, 1, 3)
    """
    distances: list[int] = [*range(len(second) + 1)]
    for row, character in enumerate(first, 1):
        previous, distances[0] = distances[0], row
        for column, other in enumerate(second, 1):
            change = previous + (character != other)
            previous = distances[column]
            distances[column] = min(change, previous + 1, distances[column - 1] + 1)
    return distances[-1]


def compute_calibration(
    confidences: NDArray[np.float64], is_right: NDArray[np.bool_]
) -> tuple[float, tuple[CalibrationBin, ...]]:
    """Return the calibration error of images with these confidences, and their bins of equal width."""
    import numpy as np

    if not len(confidences):
        return float("nan"), ()
    indices = np.minimum((confidences * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    bins = []
    for index in np.unique(indices):
        is_inside = indices == index
        count = int(is_inside.sum())
        bins.append(
            CalibrationBin(count, float(confidences[is_inside].mean()), float(is_right[is_inside].mean()))
        )
    error = sum(each.count * abs(each.mean_confidence - each.accuracy) for each in bins) / len(confidences)
    return error, tuple(bins)


def measure_coverage(answers: Answers, threshold: float) -> CoveragePoint:
    """Return how many digits are `ok` with a threshold, and how many of these are wrong."""
    is_digit = answers.labels != NO_DIGIT
    is_ok = answers.may_be_ok & (answers.confidences >= threshold)
    return CoveragePoint(
        threshold, _share_of(is_ok, is_digit), _share_of(~answers.is_right, is_digit & is_ok)
    )


def find_threshold(answers: Answers, max_wrong: float) -> CoveragePoint | None:
    """Return the lowest threshold of 4 decimals with which at most `max_wrong` of the `ok` digits is wrong.

    None if there is no such threshold. It is fitted to these images: on others, more may be wrong.
    """
    import numpy as np

    is_digit = (answers.labels != NO_DIGIT) & answers.may_be_ok
    is_wrong = ~answers.is_right[is_digit]
    # A threshold of 4 decimals does not tell those apart that are alike then.
    confidences = round_down(answers.confidences[is_digit])
    order = np.argsort(-confidences, kind="stable")
    confidences, wrong_counts = confidences[order], np.cumsum(is_wrong[order])
    is_last_of_alike = np.append(confidences[1:] != confidences[:-1], [True] * bool(len(order)))
    is_possible = is_last_of_alike.astype(bool) & (wrong_counts <= max_wrong * np.arange(1, len(order) + 1))
    if not is_possible.any():
        return None
    return measure_coverage(answers, float(confidences[np.flatnonzero(is_possible)[-1]]))


def round_down(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return confidences (N,) with 4 decimals, none of them higher than it was."""
    import numpy as np

    rounded = np.round(confidences, 4)
    lower: NDArray[np.float64] = np.where(rounded > confidences, np.floor(confidences * 1e4) / 1e4, rounded)
    return lower


def _share_of(is_counted: NDArray[np.bool_], is_member: NDArray[np.bool_]) -> Share:
    return compute_share(int((is_counted & is_member).sum()), int(is_member.sum()))


def _score_digits(answers: Answers) -> tuple[DigitScores, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    scores: Any = precision_recall_fscore_support(
        answers.labels, answers.predictions, labels=range(NO_DIGIT), zero_division=float("nan")
    )
    return tuple(
        DigitScores(label, int(count), float(precision), float(recall), float(f1))
        for label, (precision, recall, f1, count) in enumerate(zip(*scores, strict=True))
        if count
    )
