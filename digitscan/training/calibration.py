"""Making a confidence mean what it says: temperature and thresholds, fitted on validation images.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". The validation images
are augmented as users' pictures differ, because a calibration on clean images does not survive a shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_NON_DIGITS_OK = 0.035
"""Of validation pictures that are no digit, at most this share is marked `ok`."""

Probabilities = NDArray[np.float64]
Labels = NDArray[np.uint8]


def fit_temperature(probabilities: Probabilities, labels: Labels) -> float:
    """Return the temperature, 0.25 to 8, that makes the labels (N,) likeliest.

    `probabilities` (N, classes) are those of temperature 1.
    """
    logits = np.log(np.maximum(probabilities, 1e-30))
    temperatures = np.geomspace(0.25, 8.0, 200)
    losses = []
    for temperature in temperatures:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        given = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        losses.append(-float(given.mean()))
    return round(float(temperatures[int(np.argmin(losses))]), 4)


def fit_rejection_bias(probabilities: Probabilities, labels: Labels, refused: float) -> float:
    """Return what to take from the eleventh logit so that few digits, the share `refused`, are turned away.

    There are far fewer pictures of no digit in users' folders than in training: this corrects the prior.
    `probabilities` (N, 11) are those of temperature 1; `labels` (N,) hold 10 for no digit.
    """
    logits = np.log(np.maximum(probabilities[labels < 10], 1e-30))
    doubt = np.sort(logits[:, 10] - logits[:, :10].max(axis=1))[::-1]
    return max(0.0, float(doubt[int(refused * len(doubt))]))


def fit_ok_threshold(probabilities: Probabilities, labels: Labels, ok_wrong: float) -> float:
    """Return the lowest confidence from which a row is `ok`.

    At most the share `ok_wrong` of the digits marked `ok` is wrong, and at most MAX_NON_DIGITS_OK of the
    pictures of no digit is marked `ok`. `labels` hold 10 for no digit.
    """
    digits = labels < 10
    answers = probabilities.argmax(axis=1)
    confidence = np.where(answers < 10, probabilities[:, :10].max(axis=1), 0.0)
    order = np.argsort(-confidence[digits], kind="stable")
    wrong = (answers != labels)[digits][order]
    good = np.flatnonzero(np.cumsum(wrong) <= ok_wrong * np.arange(1, len(order) + 1))
    if good.size == 0:
        return 1.0
    ok = max(0.5, float(confidence[digits][order[good[-1]]]))
    others = np.sort(confidence[~digits])[::-1]
    if others.size:
        ok = max(ok, float(others[int(MAX_NON_DIGITS_OK * others.size)]) + 1e-6)
    return round(min(0.9999, ok), 4)


def fit_cascade_threshold(
    confidence: NDArray[np.float64], agrees: NDArray[np.bool_], differing: float
) -> float:
    """Return the lowest confidence, 0.5 to 1, from which at most the share `differing` does not agree.

    `confidence` (N,) are a quick model's, `agrees` (N,) tells where the other one says the same.
    """
    order = np.argsort(-confidence, kind="stable")
    good = np.flatnonzero(np.cumsum(~agrees[order]) <= differing * np.arange(1, len(order) + 1))
    return max(0.5, float(confidence[order[good[-1]]])) if good.size else 1.0
