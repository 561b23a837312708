"""Teachers are loaded once, and their answers are mixed with the labels."""

import numpy as np
import pytest

from digitscan.errors import ModelError, UsageError
from digitscan.imaging.preprocess import preprocess
from digitscan.model.input_range import InputRange
from digitscan.model.registry import load_model
from digitscan.model.user_calibrations import Calibration, store_calibration
from digitscan.training import distillation
from digitscan.training.data.datasets import NOT_A_DIGIT, Dataset, preprocess_dataset
from digitscan.training.data.sources import load_data
from digitscan.training.distillation import TEACHER_WEIGHT, compute_distillation_targets, load_teachers


@pytest.fixture(scope="module")
def digits():
    mnist = load_data()
    return preprocess_dataset(Dataset(mnist.x_train[:50], mnist.y_train[:50]))


def test_a_target_mixes_the_label_with_the_mean_answer_of_the_teachers(digits):
    cnn, mlp = load_teachers(["cnn", "mlp"], 10, print)
    mislabeled = Dataset(digits.images, (digits.labels + 1) % 10)
    targets = compute_distillation_targets(mislabeled, [cnn], 10)
    assert targets.shape == (50, 10) and targets.dtype == np.float32
    assert np.allclose(targets.sum(axis=1), 1.0, atol=1e-5)
    rows = np.arange(50)
    assert np.all(targets[rows, mislabeled.labels] >= 1.0 - TEACHER_WEIGHT - 1e-6)
    assert np.mean(targets[rows, digits.labels]) > 0.6
    assert not np.allclose(targets, compute_distillation_targets(mislabeled, [cnn, mlp], 10))


def test_a_teacher_that_takes_a_negative_for_a_digit_is_not_followed(digits):
    (cnn,) = load_teachers(["cnn"], 11, print)
    cross = np.maximum(np.eye(28, dtype=np.uint8), np.eye(28, dtype=np.uint8)[::-1]) * 255
    images = np.stack((digits.images[0], preprocess(np.pad(cross, 8)).pixels))
    negatives = Dataset(images, np.full(2, NOT_A_DIGIT, np.uint8))
    missed, found = compute_distillation_targets(negatives, [cnn], 11)
    assert missed.tolist() == [0.0] * 10 + [1.0]
    assert 1.0 - TEACHER_WEIGHT < found[NOT_A_DIGIT] < 1.0


def test_a_teacher_that_is_named_twice_is_loaded_once_and_changes_no_target(digits, monkeypatch):
    loaded = []
    monkeypatch.setattr(distillation, "load_model", lambda name, **_: loaded.append(name) or load_model(name))
    (once,) = load_teachers(["cnn"], 11, print)
    twice = load_teachers(["cnn", "cnn"], 11, print)
    assert loaded == ["cnn", "cnn"]
    expected = compute_distillation_targets(digits, [once], 11)
    assert np.array_equal(compute_distillation_targets(digits, twice, 11), expected)


def test_what_a_teacher_teaches_does_not_depend_on_a_calibration_by_the_user():
    model = load_model("mlp")
    calibration = Calibration("mlp", temperature=5.0, ok_confidence=0.5, pictures=100, date="2026-11-27")
    store_calibration(model.digest, InputRange.ONE, calibration)
    assert load_model("mlp").calibration == calibration
    (teacher,) = load_teachers(["mlp"], 10, print)
    assert teacher.model == model


def test_a_teacher_with_fewer_classes_is_refused():
    with pytest.raises(
        UsageError, match="mlp has 10 classes, and 11 are to be learned: give another --teacher"
    ):
        load_teachers(["cnn", "mlp"], 11, print)


def test_a_teacher_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match=r"nobody\.h5"):
        load_teachers(["nobody.h5"], 10, print)
