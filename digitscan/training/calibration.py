"""Fit what turns a network's outputs into trustworthy rows: rejection bias, temperature and thresholds.

Temperature scaling is that of Guo et al. 2017, "On Calibration of Modern Neural Networks". Everything is
fitted to the outputs of the compiled model, because a scan runs that, and on validation images that are
augmented as users' pictures differ from MNIST: a calibration on clean images does not survive such a shift
(Ovadia et al. 2019, "Can You Trust Your Model's Uncertainty?").

The thresholds of a model that learned from the user's own images are fitted with their uncertainty: it must
be shown, with CONFIDENCE_LEVEL, that no more of the rows marked `ok` are wrong than promised. A few images
cannot show that, and then no row is `ok`. What the bundled MNIST gives was measured on other sets.

Images in printed fields, and unclear ones, have thresholds of their own, because a promise about all images
is none about a folder that holds only such images (Hebert-Johnson et al. 2018, "Multicalibration").
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.imaging.condition import Condition
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.classifier import Classifier, classify_preprocessed
from digitscan.model.keras_comparison import measure_disagreement
from digitscan.model.known_images import load_known_digits
from digitscan.model.metadata import FAST_CNN, ModelMetadata
from digitscan.model.tflite_compiler import MAX_DISAGREEMENT, compile_model, replace_output_bias
from digitscan.training.certain_threshold import CONFIDENCE_LEVEL, FIRST_SHARE, count_needed_rows
from digitscan.training.data.datasets import NOT_A_DIGIT, ScannedImages
from digitscan.training.distillation import Teacher

MAX_OK_WRONG = 0.003
"""The largest share of wrong digits among the validation digits marked `ok`."""
MAX_FIELD_OK_WRONG = 0.005
"""The same among those in printed fields, which are drawn harder to read than the fields of real forms."""
MAX_NEGATIVES_OK = 0.0265
"""The largest share of the negatives among the validation images that is marked `ok`."""
MAX_OTHER_NEGATIVES_OK = 0.035
"""The same among the images in fields, and among unclear ones; there are fewer of them."""
MAX_DIGITS_REJECTED = 0.005
"""The largest share of the validation digits that is rejected as "not a digit"."""
MAX_CASCADE_DISAGREEMENT = 0.001
"""The largest share, of the images that the fast model answers, in which its teacher does not agree.

Nearly all of them are digits that the teacher reads as the same, and would have marked `review`.
"""
NEVER = 1.0
"""The threshold that no confidence is to reach."""
MIN_CONDITION_DIGITS = 300
"""Fewer digits of a condition cannot show that 3 in 1,000 are wrong: they share the limit of clean images."""

Probabilities = NDArray[np.float64]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class CalibratedModel:
    """A trained network, ready to be saved: its metadata and its compiled form, which the classifier runs."""

    metadata: ModelMetadata
    compiled: bytes
    classifier: Classifier

    def without_ok(self) -> CalibratedModel:
        """Return the model without thresholds: none of its rows is `ok`."""
        metadata = replace(
            self.metadata, ok_confidence=None, field_ok_confidence=None, unclear_ok_confidence=None
        )
        return replace(self, metadata=metadata)


def calibrate_model(
    keras_model: Any,
    architecture: str,
    images: ScannedImages,
    fields: ScannedImages | None = None,
    teachers: Sequence[Teacher] = (),
    digit_count: int | None = None,
) -> CalibratedModel:
    """Compile a network and fit temperature and thresholds to its outputs on augmented validation images.

    `images` are as users' pictures are; `fields` are further images in printed fields, for their threshold.
    `digit_count` is of how many different digits `images` are drawn, for thresholds that are to be fitted
    with their uncertainty; None fits them without.
    Where the network has a class "not a digit", that class's bias is changed in `keras_model` too, so that
    plain Keras gives the answers of a scan. Raises ModelError where the network cannot be compiled.
    """
    metadata = ModelMetadata(
        architecture=architecture,
        classes=int(keras_model.output_shape[-1]),
        preprocess_version=PREPROCESS_VERSION,
    )
    compiled = compile_model(keras_model)
    if metadata.classes == 11:
        answers = _classify(Classifier(compiled, metadata), images)
        clean = answers.select(answers.have_condition(Condition.CLEAN))
        shift = fit_rejection_bias(clean.probabilities, clean.labels, MAX_DIGITS_REJECTED)
        compiled = _lower_rejection_bias(keras_model, compiled, shift)
    answers = _classify(Classifier(compiled, metadata), images)
    metadata = replace(metadata, temperature=fit_temperature(answers.probabilities, answers.labels))
    classifier = Classifier(compiled, metadata)
    answers = _classify(classifier, images)
    metadata = _fit_ok_thresholds(
        metadata, answers, _classify(classifier, fields) if fields else None, digit_count
    )
    if architecture == FAST_CNN:
        (teacher,) = teachers
        metadata = replace(
            metadata,
            cascade_target=teacher.model.digest,
            cascade_threshold=_fit_cascade(answers, teacher),
        )
    return CalibratedModel(metadata, compiled, classifier)


def describe_no_threshold(digit_count: int) -> str:
    """Return a line for the user of a model whose rows are all `review`: so few digits validated it."""
    return (
        f"All rows of a scan will be review: {digit_count:,} validation images cannot show that at most "
        f"{1000 * MAX_OK_WRONG:.0f} in 1,000 of the rows marked ok are wrong. Train on more images, or let "
        "the bundled model learn from these (digitscan train --from cnn --add FOLDER), or give the scan a "
        "limit of your own (--min-confidence)."
    )


@dataclass(frozen=True)
class _Answers:
    """What a classifier answers to N images, each by the candidate that a scan would choose."""

    pixels: NDArray[np.uint8]
    """(N, 28, 28), as the network takes them."""
    probabilities: Probabilities
    """(N, 10) or (N, 11)."""
    labels: Labels
    """(N,), 10 for negatives."""
    conditions: tuple[Condition, ...]
    """N of them, as in `Preprocessed`."""
    needs_review: NDArray[np.bool_]
    """(N,), as in `Preprocessed`: such a row is never `ok`."""

    def have_condition(self, condition: Condition) -> NDArray[np.bool_]:
        """Return the mask (N,) of the images of a condition."""
        return np.array([each is condition for each in self.conditions], bool)

    def that_may_be_ok(self, condition: Condition) -> _Answers:
        """Return the answers to the images of a condition, but for those that need review in any case."""
        return self.select(self.have_condition(condition) & ~self.needs_review)

    def select(self, chosen: NDArray[np.bool_]) -> _Answers:
        """Return the answers to some of the images, by a mask (N,)."""
        return _Answers(
            self.pixels[chosen],
            self.probabilities[chosen],
            self.labels[chosen],
            tuple(itertools.compress(self.conditions, chosen.tolist())),
            self.needs_review[chosen],
        )


def _classify(classifier: Classifier, images: ScannedImages) -> _Answers:
    classified = classify_preprocessed(classifier, images.results)
    chosen = [preprocessed for preprocessed, _ in classified]
    return _Answers(
        np.stack([np.asarray(preprocessed.pixels) for preprocessed in chosen]),
        np.array([probabilities for _, probabilities in classified]),
        images.labels,
        tuple(result.condition for result in chosen),
        np.array([result.needs_review for result in chosen]),
    )


def _fit_ok_thresholds(
    metadata: ModelMetadata, answers: _Answers, fields: _Answers | None, digit_count: int | None
) -> ModelMetadata:
    """Return the metadata with the limits for `ok` of each condition; that of clean images is the lowest.

    There are none where `digit_count` different digits cannot show that the promise is kept.
    """
    clean, unclear = answers.that_may_be_ok(Condition.CLEAN), answers.that_may_be_ok(Condition.UNCLEAR)
    in_fields = [each.that_may_be_ok(Condition.FIELD) for each in (answers, fields) if each]
    copies = None
    if digit_count is not None:
        copies = max(1.0, np.count_nonzero(answers.labels < NOT_A_DIGIT) / digit_count)
    limit = fit_ok_threshold(clean.probabilities, clean.labels, MAX_OK_WRONG, MAX_NEGATIVES_OK, copies)
    if copies is not None and limit == NEVER:
        return metadata
    return replace(
        metadata,
        ok_confidence=limit,
        field_ok_confidence=_fit_higher_threshold(limit, in_fields, MAX_FIELD_OK_WRONG),
        unclear_ok_confidence=_fit_higher_threshold(limit, [unclear], MAX_OK_WRONG),
    )


def _fit_higher_threshold(minimum: float, answers: Sequence[_Answers], max_wrong: float) -> float | None:
    """Return the limit of a condition, at least `minimum`; None where too few digits are of it."""
    labels = np.concatenate([each.labels for each in answers])
    if np.count_nonzero(labels < NOT_A_DIGIT) < MIN_CONDITION_DIGITS:
        return None
    probabilities = np.concatenate([each.probabilities for each in answers])
    return max(minimum, fit_ok_threshold(probabilities, labels, max_wrong, MAX_OTHER_NEGATIVES_OK))


def _lower_rejection_bias(keras_model: Any, compiled: bytes, shift: float) -> bytes:
    """Subtract `shift` from a network's bias of "not a digit"; return its compiled form with that bias."""
    output_layer = keras_model.layers[-1]
    kernel, bias = output_layer.get_weights()
    new_bias = bias.copy()
    new_bias[NOT_A_DIGIT] -= shift
    output_layer.set_weights([kernel, new_bias])
    with contextlib.suppress(ModelError):
        replaced = replace_output_bias(compiled, bias, new_bias)
        digits, _ = load_known_digits()
        # Where nearly all was "not a digit" before, answers that differ from Keras's did not show.
        if measure_disagreement(keras_model, replaced, digits) <= MAX_DISAGREEMENT:
            return replaced
    return compile_model(keras_model)


def _fit_cascade(answers: _Answers, teacher: Teacher) -> float:
    """Return the confidence from which a fast model, with these answers, may answer for its teacher.

    The teacher must mark the same digit `ok` in all but MAX_CASCADE_DISAGREEMENT of those images, and its own
    threshold for `ok` is the lower limit. Unclear images do not count: the fast model never answers those.
    """
    answers = answers.select(~answers.have_condition(Condition.UNCLEAR))
    teacher_probabilities = teacher.classifier.classify(answers.pixels)
    limits = [teacher.model.metadata.ok_limit(condition) for condition in answers.conditions]
    ok_confidences = np.array([1.0 if limit is None else limit for limit in limits])
    digits = answers.probabilities[:, :10]
    agrees = (teacher_probabilities.argmax(axis=1) == digits.argmax(axis=1)) & (
        teacher_probabilities.max(axis=1) >= ok_confidences
    )
    threshold = fit_cascade_threshold(digits.max(axis=1), agrees, MAX_CASCADE_DISAGREEMENT)
    return max(threshold, float(ok_confidences.max()))


def fit_temperature(
    probabilities: Probabilities,
    labels: Labels,
    smoothing: float = 0.0,
    limits: tuple[float, float] = (0.25, 8.0),
) -> float:
    """Return the temperature within limits that minimizes the cross-entropy of the labels.

    `probabilities` (N, classes) are those of temperature 1, `labels` (N,) are classes. `smoothing` is the
    share of each label, 0 to 1, that is spread over all classes.
    """
    logits = np.log(np.maximum(probabilities, 1e-30))
    temperatures = np.geomspace(*limits, 200)
    losses = []
    for temperature in temperatures:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        log_likelihoods = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        if smoothing:
            mean_of_classes = scaled.mean(axis=1) - np.log(np.exp(scaled).sum(axis=1))
            log_likelihoods = (1.0 - smoothing) * log_likelihoods + smoothing * mean_of_classes
        losses.append(-float(log_likelihoods.mean()))
    return round(float(temperatures[int(np.argmin(losses))]), 4)


def fit_rejection_bias(probabilities: Probabilities, labels: Labels, max_rejected: float) -> float:
    """Return what to subtract from the logit of "not a digit" so that few digits are rejected.

    At most the share `max_rejected` of the digits is rejected afterwards. This corrects the prior: users'
    folders hold far fewer negatives than the training data. `probabilities` (N, 11) are those of temperature
    1; `labels` (N,) are 10 for negatives. The result is at least 0.
    """
    logits = np.log(np.maximum(probabilities[labels < NOT_A_DIGIT], 1e-30))
    margins = np.sort(logits[:, 10] - logits[:, :10].max(axis=1))[::-1]
    return max(0.0, float(margins[int(max_rejected * len(margins))]))


def fit_ok_threshold(
    probabilities: Probabilities,
    labels: Labels,
    max_wrong: float,
    max_negatives_ok: float,
    copies: float | None = None,
) -> float:
    """Return the lowest confidence, 0.5 to 1, from which a row is `ok`.

    At most the share `max_wrong` of the digits marked `ok` is wrong, and at most the share `max_negatives_ok`
    of the negatives is marked `ok`. `probabilities` are (N, 10) or (N, 11); `labels` (N,) are 10 for
    negatives. The result is NEVER where no threshold keeps the first promise. With `copies`, the number of
    images that are drawn of each digit, the promise must be kept with CONFIDENCE_LEVEL by so many digits.
    """
    is_digit = labels < NOT_A_DIGIT
    predictions = probabilities.argmax(axis=1)
    confidences = np.where(predictions < NOT_A_DIGIT, probabilities[:, :10].max(axis=1), 0.0)
    order = np.argsort(-confidences[is_digit], kind="stable")
    is_wrong = (predictions != labels)[is_digit][order]
    count = _longest_prefix(is_wrong, max_wrong)
    if copies is not None:
        count = _longest_certain_prefix(is_wrong, max_wrong, copies)
    if count == 0:
        return NEVER
    threshold = max(0.5, float(confidences[is_digit][order[count - 1]]))
    negatives = np.sort(confidences[~is_digit])[::-1]
    if negatives.size:
        # Just above the most confident negative that must not be `ok`.
        threshold = max(threshold, float(negatives[int(max_negatives_ok * negatives.size)]) + 1e-6)
    return round(min(0.9999, threshold), 4)


def fit_cascade_threshold(
    confidences: NDArray[np.float64], agrees: NDArray[np.bool_], max_disagreement: float
) -> float:
    """Return the lowest confidence, 0.5 to 1, from which a fast model may answer in another one's place.

    `confidences` (N,) are the fast model's; `agrees` (N,) is true where the other model gives the same
    answer. From the result on, at most the share `max_disagreement` does not agree. It is 1.0 where no
    threshold promises that.
    """
    order = np.argsort(-confidences, kind="stable")
    count = _longest_prefix(~agrees[order], max_disagreement)
    return max(0.5, float(confidences[order[count - 1]])) if count else 1.0


def _longest_prefix(is_error: NDArray[np.bool_], max_error_share: float) -> int:
    """Return the length of the longest beginning of `is_error` (N,) with at most that share of errors."""
    lengths = np.arange(1, len(is_error) + 1)
    allowed = np.flatnonzero(np.cumsum(is_error) <= max_error_share * lengths)
    return int(allowed[-1]) + 1 if allowed.size else 0


def _longest_certain_prefix(is_error: NDArray[np.bool_], max_error_share: float, copies: float) -> int:
    """Return the length of the longest beginning of `is_error` (N,) whose true share is surely no larger.

    Each of the N / `copies` things that were looked at counts once: its copies are no further evidence. As in
    `fit_certain_threshold`, longer and longer beginnings are tested until the first test that fails.
    """
    from scipy.stats import beta

    total = len(is_error)
    first = max(count_needed_rows(max_error_share) * copies, FIRST_SHARE * total)
    if first > total:
        return 0
    # Each test allows one error more.
    lengths = np.append(np.arange(np.ceil(first), total, copies / max_error_share), total).astype(np.int64)
    errors = np.cumsum(is_error)[lengths - 1] / copies
    bounds = beta.ppf(CONFIDENCE_LEVEL, errors + 1.0, np.maximum(lengths / copies - errors, 1e-9))
    passed = int(np.argmin(np.append(bounds <= max_error_share, False)))
    return int(lengths[passed - 1]) if passed else 0
