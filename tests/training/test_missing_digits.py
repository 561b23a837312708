"""A network whose training data lack some digits is never sure of them."""

import keras
import numpy as np
import pytest

from digitscan.model.registry import load_model
from digitscan.training.config import TrainConfig
from digitscan.training.data import augment
from digitscan.training.data.datasets import preprocess_dataset
from digitscan.training.data.sources import load_data
from digitscan.training.missing_digits import describe_digits, exclude_digits, load_other_digits
from digitscan.training.pipeline import run_training


@pytest.mark.parametrize(
    ("has_negatives", "effect"),
    [
        (True, "the network learns that they are no digits."),
        (
            False,
            "this network cannot tell that they are others, so all rows of a scan will be review.",
        ),
    ],
)
def test_missing_digits_are_said_before_training(has_negatives, effect):
    labels = np.repeat(np.arange(7, dtype=np.uint8), 20)
    lines = describe_digits(labels, has_negatives)
    assert lines == [f"There are no training images of 7, 8 and 9: {effect}"]


def test_digits_with_few_images_are_said_before_training():
    labels = np.repeat(np.arange(10, dtype=np.uint8), [20, 19, 100, 20, 1, 20, 20, 20, 20, 20])
    (line,) = describe_digits(labels, True)
    assert line.startswith("There are few training images, 19 of 1, 1 of 4: expect errors there")


def test_nothing_is_said_where_there_are_enough_images():
    assert describe_digits(np.repeat(np.arange(10, dtype=np.uint8), 20), False) == []


def test_the_other_digits_come_from_mnist_and_validation_has_its_own():
    others = load_other_digits([3, 8])
    assert set(others["train"].labels.tolist()) == set(others["val"].labels.tolist()) == {3, 8}
    assert len(others["train"].labels) > 5 * len(others["val"].labels) > 1000
    assert load_other_digits([]) == {}


def test_an_excluded_digit_is_never_answered():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10, activation="softmax")])
    exclude_digits(network, [2, 5])
    inputs = np.random.default_rng(1).normal(0.0, 30.0, (500, 4)).astype(np.float32)
    answers = np.asarray(network(inputs)).argmax(axis=1)
    assert not np.isin(answers, [2, 5]).any()
    assert len(set(answers.tolist())) > 3


@pytest.fixture(scope="module")
def zeros_to_twos(tmp_path_factory):
    """The path of MNIST's first digits that are 0, 1 or 2."""
    data = load_data()
    train, test = np.flatnonzero(data.y_train < 3)[:600], np.flatnonzero(data.y_test < 3)[:100]
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(
        path,
        x_train=data.x_train[train],
        y_train=data.y_train[train],
        x_test=data.x_test[test],
        y_test=data.y_test[test],
    )
    return path


def test_a_network_without_negatives_marks_nothing_ok_after_missing_digits(zeros_to_twos, tmp_path, capsys):
    model = run_training(TrainConfig("mlp", tmp_path / "a.h5", data=zeros_to_twos, epochs=3))
    assert model.metadata.ok_confidence is None
    assert "no training images of 3, 4, 5, 6, 7, 8 and 9" in capsys.readouterr().err
    classifier = load_model(model.path).load_classifier()
    answers = classifier.classify(load_data().x_test[:500]).argmax(axis=1)
    assert set(answers.tolist()) <= {0, 1, 2}


def test_negatives_show_the_digits_that_the_data_lack(monkeypatch):
    data, others = load_data(), load_other_digits([8])["val"]
    digits, labels = data.x_train[:10], data.y_train[:10]
    monkeypatch.setattr(augment, "OTHER_DIGITS", 1.0)
    monkeypatch.setattr(augment, "degrade", lambda image, rng: image)
    negatives = np.arange(10, 30)
    images = augment.augment_images(
        digits, labels, negatives, 1, augment.NO_AUGMENTATION, "val", other_digits=others
    )
    eights = {image.tobytes() for image in preprocess_dataset(others).images}
    assert len({image.tobytes() for image in images}) > 10
    assert {image.tobytes() for image in images} <= eights
