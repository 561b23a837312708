"""Fit what turns a network's outputs into trustworthy rows: rejection bias, temperature and thresholds.

Temperature scaling is that of Guo et al. 2017, "On Calibration of Modern Neural Networks". Everything is
fitted to the outputs of the compiled model, because a scan runs that, and on validation images that are
augmented as users' pictures differ from MNIST: a calibration on clean images does not survive such a shift
(Ovadia et al. 2019, "Can You Trust Your Model's Uncertainty?").

Images in which more was found than a digit have a threshold of their own, because a promise about all images
is none about a folder that holds only such images (Hebert-Johnson et al. 2018, "Multicalibration").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.classifier import Classifier, classify_preprocessed
from digitscan.model.metadata import FAST_CNN, ModelMetadata
from digitscan.model.tflite_compiler import compile_model, replace_output_bias
from digitscan.training.data.datasets import NOT_A_DIGIT, ScannedImages
from digitscan.training.distillation import Teacher

MAX_OK_WRONG = 0.003
"""The largest share of wrong digits among the validation digits marked `ok`."""
MAX_NEGATIVES_OK = 0.0225
"""The largest share of the negatives among the validation images that is marked `ok`."""
MAX_UNCLEAN_NEGATIVES_OK = 0.035
"""The same among the images that are not clean; there are fewer of them."""
MAX_DIGITS_REJECTED = 0.005
"""The largest share of the validation digits that is rejected as "not a digit"."""
MAX_CASCADE_DISAGREEMENT = 0.001
"""The largest share, of the images that the fast model answers, in which its teacher does not agree."""
MIN_UNCLEAN_DIGITS = 300
"""Fewer digits in images that are not clean cannot show that 3 in 1,000 are wrong: they share the limit."""

Probabilities = NDArray[np.float64]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class CalibratedModel:
    """A trained network, ready to be saved: its metadata and its compiled form, which the classifier runs."""

    metadata: ModelMetadata
    compiled: bytes
    classifier: Classifier


def calibrate_model(
    keras_model: Any, architecture: str, images: ScannedImages, teachers: Sequence[Teacher] = ()
) -> CalibratedModel:
    """Compile a network and fit temperature and thresholds to its outputs on augmented validation images.

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
        shift = fit_rejection_bias(
            answers.probabilities[answers.is_clean], answers.labels[answers.is_clean], MAX_DIGITS_REJECTED
        )
        compiled = _lower_rejection_bias(keras_model, compiled, shift)
    answers = _classify(Classifier(compiled, metadata), images)
    metadata = replace(metadata, temperature=fit_temperature(answers.probabilities, answers.labels))
    classifier = Classifier(compiled, metadata)
    answers = _classify(classifier, images)
    metadata = _fit_ok_thresholds(metadata, answers)
    if architecture == FAST_CNN:
        (teacher,) = teachers
        metadata = replace(
            metadata,
            cascade_target=teacher.model.digest,
            cascade_threshold=_fit_cascade(answers, teacher),
        )
    return CalibratedModel(metadata, compiled, classifier)


@dataclass(frozen=True)
class _Answers:
    """What a classifier answers to N images, each by the candidate that a scan would choose."""

    pixels: NDArray[np.uint8]
    """(N, 28, 28), as the network takes them."""
    probabilities: Probabilities
    """(N, 10) or (N, 11)."""
    labels: Labels
    """(N,), 10 for negatives."""
    is_clean: NDArray[np.bool_]
    """(N,), as in `Preprocessed`."""
    needs_review: NDArray[np.bool_]
    """(N,), as in `Preprocessed`: such a row is never `ok`."""

    def select(self, chosen: NDArray[np.bool_]) -> _Answers:
        """Return the answers to some of the images, by a mask (N,)."""
        return _Answers(
            self.pixels[chosen],
            self.probabilities[chosen],
            self.labels[chosen],
            self.is_clean[chosen],
            self.needs_review[chosen],
        )


def _classify(classifier: Classifier, images: ScannedImages) -> _Answers:
    classified = classify_preprocessed(classifier, images.results)
    chosen = [preprocessed for preprocessed, _ in classified]
    return _Answers(
        np.stack([np.asarray(preprocessed.pixels) for preprocessed in chosen]),
        np.array([probabilities for _, probabilities in classified]),
        images.labels,
        np.array([result.is_clean for result in chosen]),
        np.array([result.needs_review for result in chosen]),
    )


def _fit_ok_thresholds(metadata: ModelMetadata, answers: _Answers) -> ModelMetadata:
    """Return the metadata with the limits for `ok`: of clean images, and of others, never below the first."""
    may_be_ok = answers.select(~answers.needs_review)
    clean, unclean = may_be_ok.select(may_be_ok.is_clean), may_be_ok.select(~may_be_ok.is_clean)
    ok_confidence = fit_ok_threshold(clean.probabilities, clean.labels, MAX_OK_WRONG, MAX_NEGATIVES_OK)
    if np.count_nonzero(unclean.labels < NOT_A_DIGIT) < MIN_UNCLEAN_DIGITS:
        return replace(metadata, ok_confidence=ok_confidence)
    unclean_threshold = fit_ok_threshold(
        unclean.probabilities, unclean.labels, MAX_OK_WRONG, MAX_UNCLEAN_NEGATIVES_OK
    )
    return replace(
        metadata, ok_confidence=ok_confidence, unclean_ok_confidence=max(ok_confidence, unclean_threshold)
    )


def _lower_rejection_bias(keras_model: Any, compiled: bytes, shift: float) -> bytes:
    """Subtract `shift` from a network's bias of "not a digit"; return its compiled form with that bias."""
    output_layer = keras_model.layers[-1]
    kernel, bias = output_layer.get_weights()
    new_bias = bias.copy()
    new_bias[NOT_A_DIGIT] -= shift
    output_layer.set_weights([kernel, new_bias])
    try:
        return replace_output_bias(compiled, bias, new_bias)
    except ModelError:
        return compile_model(keras_model)


def _fit_cascade(answers: _Answers, teacher: Teacher) -> float:
    """Return the confidence from which a fast model, with these answers, may answer for its teacher.

    The teacher must mark the same digit `ok` in all but MAX_CASCADE_DISAGREEMENT of those images, and its own
    threshold for `ok` is the lower limit.
    """
    teacher_probabilities = teacher.classifier.classify(answers.pixels)
    limits = [teacher.model.metadata.ok_limit(is_clean) for is_clean in answers.is_clean.tolist()]
    ok_confidences = np.array([1.0 if limit is None else limit for limit in limits])
    digits = answers.probabilities[:, :10]
    agrees = (teacher_probabilities.argmax(axis=1) == digits.argmax(axis=1)) & (
        teacher_probabilities.max(axis=1) >= ok_confidences
    )
    threshold = fit_cascade_threshold(digits.max(axis=1), agrees, MAX_CASCADE_DISAGREEMENT)
    return max(threshold, float(ok_confidences.max()))


def fit_temperature(probabilities: Probabilities, labels: Labels) -> float:
    """Return the temperature, 0.25 to 8, that minimizes the cross-entropy of the labels.

    `probabilities` (N, classes) are those of temperature 1, `labels` (N,) are classes.
    """
    logits = np.log(np.maximum(probabilities, 1e-30))
    temperatures = np.geomspace(0.25, 8.0, 200)
    losses = []
    for temperature in temperatures:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        log_likelihoods = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
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
    probabilities: Probabilities, labels: Labels, max_wrong: float, max_negatives_ok: float
) -> float:
    """Return the lowest confidence, 0.5 to 1, from which a row is `ok`.

    At most the share `max_wrong` of the digits marked `ok` is wrong, and at most the share `max_negatives_ok`
    of the negatives is marked `ok`. `probabilities` are (N, 10) or (N, 11); `labels` (N,) are 10 for
    negatives. The result is 1.0 where no threshold keeps the first promise.
    """
    is_digit = labels < NOT_A_DIGIT
    predictions = probabilities.argmax(axis=1)
    confidences = np.where(predictions < NOT_A_DIGIT, probabilities[:, :10].max(axis=1), 0.0)
    order = np.argsort(-confidences[is_digit], kind="stable")
    is_wrong = (predictions != labels)[is_digit][order]
    count = _longest_prefix(is_wrong, max_wrong)
    if count == 0:
        return 1.0
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
