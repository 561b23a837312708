"""Making a confidence mean what it says: temperature and thresholds, fitted on validation images.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". The validation images
are augmented as users' pictures differ, because a calibration on clean images does not survive a shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NON_DIGITS_OK = 0.01
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


def fit_thresholds(
    probabilities: Probabilities, labels: Labels, ok_wrong: float, refused: float
) -> tuple[float, float]:
    """Return the confidence from which a row is `ok`, and the probability from which there is no digit.

    The first is the lowest at which at most the share `ok_wrong` of the digits marked `ok` is wrong, and
    at most NON_DIGITS_OK of the pictures of no digit is marked `ok`; the second the lowest at which at
    most the share `refused` of the digits is turned away, and never under one half. `labels` hold 10 for
    no digit.
    """
    digits = labels < 10
    refuse = 0.5
    confidence = probabilities[:, :10].max(axis=1)
    if probabilities.shape[1] > 10:
        doubt = np.sort(probabilities[digits, 10])[::-1]
        refuse = max(0.5, min(0.95, float(doubt[int(refused * len(doubt))]) + 1e-6))
        confidence = np.where(probabilities[:, 10] < refuse, confidence, 0.0)
    wrong = (probabilities[:, :10].argmax(axis=1) != labels)[digits]
    order = np.argsort(-confidence[digits], kind="stable")
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= ok_wrong)
    if good.size == 0:
        return 1.0, round(refuse, 4)
    ok = max(0.5, float(confidence[digits][order[good[-1]]]))
    others = np.sort(confidence[~digits])[::-1]
    if others.size:
        ok = max(ok, float(others[int(NON_DIGITS_OK * others.size)]) + 1e-6)
    return round(min(0.9999, ok), 4), round(refuse, 4)
