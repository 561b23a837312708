"""What a training run says: its confusions, what it is doing, and which model a scan uses next."""

from pathlib import Path

import numpy as np

from digitscan.model.model_files import DEFAULT_PATH, ResolvedModel
from digitscan.training import report
from digitscan.training.data.datasets import Dataset
from digitscan.training.report import (
    describe_next_scan,
    find_confusions,
    log_test_results,
    show_activity,
)
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


def test_the_log_ends_with_the_command_that_reads_with_the_model():
    assert describe_next_scan(Path("a b.h5")) == "To read with it: digitscan scan FOLDER --model 'a b.h5'"


def test_a_model_in_the_default_place_is_used_from_now_on(monkeypatch):
    monkeypatch.setattr(report, "resolve_model", lambda: ResolvedModel(DEFAULT_PATH, str(DEFAULT_PATH)))
    assert describe_next_scan(DEFAULT_PATH).startswith("digitscan scan reads with it from now on")


def test_the_log_says_where_the_bundled_model_reads_on(monkeypatch):
    """A quick trial with 85 % test accuracy replaced the reader of every later scan."""
    resolved = ResolvedModel(Path("cnn.h5"), "cnn", "models/digits.h5 is not used, because it is worse")
    monkeypatch.setattr(report, "resolve_model", lambda: resolved)
    assert describe_next_scan(DEFAULT_PATH) == (
        "digitscan scan reads with the bundled cnn: models/digits.h5 is not used, because it is worse"
    )


def test_an_activity_is_logged_where_there_is_no_terminal(capsys):
    with show_activity("Starting TensorFlow", quiet=False):
        assert capsys.readouterr().err == "Starting TensorFlow ...\n"
    with show_activity("Starting TensorFlow", quiet=True):
        assert capsys.readouterr().err == ""
