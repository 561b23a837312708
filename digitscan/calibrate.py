"""Making a confidence mean what it says: temperature and thresholds, fitted on validation images.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". The validation images
are augmented as users' pictures differ, because a calibration on clean images does not survive a shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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

    The first is the lowest at which at most the share `ok_wrong` of the rows marked `ok`, pictures of no
    digit among them, is wrong; the second the lowest at which at most the share `refused` of the digits
    is turned away, and never under one half. `labels` hold 10 for no digit.
    """
    digits = labels < 10
    refuse = 0.5
    if probabilities.shape[1] > 10:
        doubt = np.sort(probabilities[digits, 10])[::-1]
        allowed = int(refused * len(doubt))
        refuse = max(0.5, min(0.95, float(doubt[allowed]) + 1e-6))
    confidence = probabilities[:, :10].max(axis=1)
    wrong = probabilities[:, :10].argmax(axis=1) != labels
    if probabilities.shape[1] > 10:
        # A picture that is refused has no digit to be right or wrong.
        given = probabilities[:, 10] < refuse
        confidence, wrong = confidence[given], wrong[given]
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= ok_wrong)
    if good.size == 0:
        return 1.0, round(refuse, 4)
    return round(min(0.9999, max(0.5, float(confidence[order[good[-1]]]))), 4), round(refuse, 4)
