"""The last layer learns the new images, and keeps the answers to the others as far as their weight says."""

import numpy as np
import pytest

from digitscan.training.last_layer import (
    LabelledFeatures,
    add_ones,
    compute_probabilities,
    fit_last_layer,
)

CLASSES = 4


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.fixture
def first(random):
    return random.normal(0, 0.3, (7, CLASSES)).astype(np.float32)


@pytest.fixture
def rehearsal(random, first):
    """200 images with the answers that the first weights give."""
    features = add_ones(random.normal(0, 1, (200, 6)))
    return LabelledFeatures(features, compute_probabilities(features, first))


@pytest.fixture
def corrections(random, first):
    """10 images that look alike, of another class than the first weights say."""
    features = add_ones(random.normal(0, 0.1, (10, 6)) + np.array([3, 0, 0, 0, 0, 0]))
    label = compute_probabilities(features, first).mean(axis=0).argmin()
    return LabelledFeatures(features, np.tile(np.eye(CLASSES, dtype=np.float32)[label], (10, 1)))


def test_features_get_a_last_column_of_ones():
    features = add_ones(np.arange(12).reshape(2, 3, 2))
    assert features.tolist() == [[0, 1, 2, 3, 4, 5, 1], [6, 7, 8, 9, 10, 11, 1]]
    assert features.dtype == np.float32


def test_probabilities_are_the_softmax_also_of_large_logits():
    features = np.array([[1000.0, 0.0], [0.0, 1.0]], np.float32)
    weights = np.array([[1.0, 2.0], [0.0, np.log(3.0)]], np.float32)
    assert np.allclose(compute_probabilities(features, weights), [[0, 1], [0.25, 0.75]])


def test_corrections_are_learned(first, rehearsal, corrections):
    weights = fit_last_layer(first, rehearsal, corrections, 1.0)
    right = corrections.targets.argmax(axis=1)
    assert not (compute_probabilities(corrections.features, first).argmax(axis=1) == right).any()
    assert (compute_probabilities(corrections.features, weights).argmax(axis=1) == right).all()


def test_nothing_changes_without_a_weight(first, rehearsal, corrections):
    assert np.allclose(fit_last_layer(first, rehearsal, corrections, 0.0), first, atol=1e-5)


def test_the_more_corrections_weigh_the_more_the_other_answers_change(first, rehearsal, corrections):
    changes = [
        np.abs(
            compute_probabilities(rehearsal.features, fit_last_layer(first, rehearsal, corrections, weight))
            - rehearsal.targets
        ).mean()
        for weight in (0.01, 0.1, 1.0)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_no_weights_nearby_are_better(random, first, rehearsal, corrections):
    def compute_loss(weights):
        losses = [
            -(images.targets * np.log(compute_probabilities(images.features, weights))).sum(axis=1).mean()
            for images in (rehearsal, corrections)
        ]
        return losses[0] + 0.1 * losses[1]

    weights = fit_last_layer(first, rehearsal, corrections, 0.1)
    nearby = [weights + random.normal(0, 0.2, weights.shape).astype(np.float32) for _ in range(20)]
    assert all(compute_loss(other) > compute_loss(weights) for other in nearby)
