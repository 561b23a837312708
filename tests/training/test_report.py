"""The message with the most frequent confusions."""

import numpy as np

from digitscan.training.data.datasets import Dataset
from digitscan.training.report import find_confusions, log_test_results
from digitscan.training.trainer import Metrics


def test_the_most_frequent_confusions_come_first():
    labels = np.array([4, 4, 4, 9, 1])
    assert find_confusions(labels, np.array([9, 9, 4, 4, 1])) == [(4, 9, 2), (9, 4, 1)]
    assert find_confusions(labels, np.array([4, 4, 4, 9, 10])) == [(1, 10, 1)]


def test_the_results_on_the_test_images_are_logged():
    messages = []
    test = Dataset(np.zeros((3, 28, 28), np.uint8), np.array([4, 1, 1], np.uint8))
    log_test_results(Metrics(0.25, 1 / 3), test, np.eye(11)[[9, 10, 1]], messages.append)
    assert messages == [
        "Test accuracy 33.33 %, loss 0.2500, on 3 images that influenced nothing.",
        "Most confused: 1 read as no digit (1), 4 read as 9 (1).",
    ]


def test_without_errors_no_confusions_are_logged():
    messages = []
    test = Dataset(np.zeros((1, 28, 28), np.uint8), np.array([4], np.uint8))
    log_test_results(Metrics(0.0, 1.0), test, np.eye(10)[[4]], messages.append)
    assert len(messages) == 1
