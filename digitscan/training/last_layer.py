"""Adapt the last layer of a trained network to a few labelled images, without forgetting the others.

The network up to its last layer stays as it is, so the images are run through it once, and what is fitted is
a multinomial logistic regression that starts from the layer's own weights. Three things keep what it knows:
rehearsal images of the recipe, for which the answers of the unchanged network are the targets (Li and Hoiem
2016, "Learning without Forgetting"); a penalty on the distance from the first weights (Li et al. 2018,
"Explicit Inductive Bias for Transfer Learning", L2-SP); and the small weight of the new images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DISTANCE_PENALTY = 1e-4
"""The weight of half the squared distance from the first weights."""
MAX_ITERATIONS = 60
"""Iterations of L-BFGS; more changed no answer."""

Features = NDArray[np.float32]
Weights = NDArray[np.float32]


class LabelledFeatures(NamedTuple):
    """What a network's layers before the last give for N images."""

    features: Features
    """(N, D), the last column 1, for the bias; see `add_ones`."""
    targets: NDArray[np.float32]
    """(N, classes), the probabilities that are to be learned."""


def add_ones(features: NDArray[Any]) -> Features:
    """Return features (N, ...) as rows, with a last column of ones for the bias."""
    rows = np.asarray(features, np.float32).reshape(len(features), -1)
    return np.hstack([rows, np.ones((len(rows), 1), np.float32)])


def compute_probabilities(features: Features, weights: Weights) -> NDArray[np.float32]:
    """Return the softmax (N, classes) of features (N, D) times weights (D, classes)."""
    logits = features @ weights
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def fit_last_layer(
    first: Weights, rehearsal: LabelledFeatures, corrections: LabelledFeatures, correction_weight: float
) -> Weights:
    """Return the weights (D, classes) that minimize the mean cross-entropies and the penalty.

    `correction_weight` is that of the corrections' cross-entropy; the rehearsal's has the weight 1.
    """
    from scipy.optimize import minimize

    def compute_loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = flat.reshape(first.shape) - first
        weights = flat.reshape(first.shape).astype(np.float32)
        loss = DISTANCE_PENALTY / 2 * float((change**2).sum())
        gradient = DISTANCE_PENALTY * change
        for images, weight in ((rehearsal, 1.0), (corrections, correction_weight)):
            probabilities = compute_probabilities(images.features, weights)
            share = weight / len(images.features)
            loss -= share * float((images.targets * np.log(probabilities + 1e-12)).sum())
            gradient += share * (images.features.T @ (probabilities - images.targets))
        return loss, gradient.ravel()

    result = minimize(
        compute_loss,
        first.astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS},
    )
    return np.asarray(result.x.reshape(first.shape), np.float32)
