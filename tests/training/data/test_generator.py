"""Generated datasets follow from the seed alone, and no training image is used for calibration."""

import sys

import numpy as np
import pytest

from digitscan.errors import TrainingError
from digitscan.imaging.condition import Condition
from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.augment import AugmentationConfig
from digitscan.training.data.datasets import NOT_A_DIGIT, Dataset, preprocess_dataset
from digitscan.training.data.generator import (
    CALIBRATION_COPIES,
    CALIBRATION_FIELD_COPIES,
    AugmentedDataGenerator,
)
from digitscan.training.data.pen_files import load_pen_strokes


@pytest.fixture
def take_digits(mnist):
    """A function that returns a dataset of MNIST's training images from `start` to `stop`."""
    return lambda start, stop: Dataset(mnist.x_train[start:stop], mnist.y_train[start:stop])


def test_calibration_has_several_augmented_copies_of_each_validation_image(take_digits):
    train, val = take_digits(0, 20), take_digits(20, 40)
    with AugmentedDataGenerator(train, val, 1, AugmentationConfig(), 2) as generator:
        validation, calibration = generator.validation, generator.make_calibration_images()
    assert len(calibration.results) == CALIBRATION_COPIES * len(validation.images)
    images = {result.pixels.tobytes() for result in calibration.results}
    assert len(images) == len(calibration.results)
    assert not images & {image.tobytes() for image in validation.images}
    assert (calibration.labels.reshape(CALIBRATION_COPIES, -1) == validation.labels).all()


def test_most_of_the_images_for_the_threshold_of_fields_are_in_fields(take_digits):
    with AugmentedDataGenerator(
        take_digits(0, 20), take_digits(20, 60), 1, AugmentationConfig(), 2
    ) as generator:
        others, fields = generator.make_calibration_images(), generator.make_calibration_fields()
    assert len(fields.results) <= CALIBRATION_FIELD_COPIES * 60
    assert not {each.pixels.tobytes() for each in fields.results} & {
        each.pixels.tobytes() for each in others.results
    }
    in_field, in_other = (
        np.mean(
            [each.alternative is not None or each.condition is not Condition.CLEAN for each in images.results]
        )
        for images in (fields, others)
    )
    assert in_field > 0.3 > in_other


@pytest.mark.parametrize("augmentation", [None, AugmentationConfig(printed_fields=0.0)])
def test_training_without_fields_has_none_for_their_threshold(take_digits, augmentation):
    with AugmentedDataGenerator(take_digits(0, 20), take_digits(20, 30), 1, augmentation, 2) as generator:
        assert generator.make_calibration_fields() is None


def test_negatives_follow_the_digits_and_are_labelled_as_such(take_digits):
    train, val = take_digits(0, 20), take_digits(20, 30)
    with AugmentedDataGenerator(train, val, 1, AugmentationConfig(negatives=0.5), 2) as generator:
        labels = [generator.load_epoch(0)[0].labels, generator.validation.labels]
    for actual, digits in zip(labels, (train.labels, val.labels), strict=True):
        assert actual.tolist() == [*digits, *[NOT_A_DIGIT] * (len(digits) // 2)]


def test_a_dataset_serves_some_epochs_each_in_another_order(take_digits):
    train, val = take_digits(0, 20), take_digits(20, 30)
    with AugmentedDataGenerator(train, val, 1, AugmentationConfig(), epochs_per_dataset=2) as generator:
        (first, first_order), (second, second_order), (third, _) = (
            generator.load_epoch(epoch) for epoch in range(3)
        )
    assert second is first
    assert not np.array_equal(first_order, second_order)
    assert sorted(first_order) == list(range(len(first.images)))
    assert not np.array_equal(first.images, third.images)


def test_a_resumed_run_gets_the_dataset_and_order_of_its_epoch(take_digits):
    train, val = take_digits(0, 20), take_digits(20, 30)
    taken = []
    for first_epoch in (0, 3):
        with AugmentedDataGenerator(train, val, 1, AugmentationConfig(), 2, first_epoch) as generator:
            for epoch in range(first_epoch, 4):
                dataset, order = generator.load_epoch(epoch)
            taken.append((dataset.images, order))
    for original, resumed in zip(*taken, strict=True):
        assert np.array_equal(original, resumed)


def test_without_augmentation_validation_and_calibration_are_the_preprocessed_digits(take_digits):
    train, val = take_digits(0, 20), take_digits(20, 30)
    with AugmentedDataGenerator(train, val, 1, None, 1) as generator:
        train_images = generator.load_epoch(0)[0].images
        validation, calibration = generator.validation, generator.make_calibration_images()
    assert np.array_equal(validation.images, preprocess_dataset(val).images)
    assert np.array_equal([result.pixels for result in calibration.results], validation.images)
    assert np.array_equal(calibration.labels, val.labels)
    assert len(train_images) == 20
    assert not np.array_equal(train_images[0], preprocess(train.images[0]).pixels)


@pytest.mark.parametrize("augmentation", [AugmentationConfig(), None])
def test_training_images_are_the_same_for_any_number_of_processes(augmentation, take_digits, monkeypatch):
    runs = []
    for core_count in (1, 3):
        monkeypatch.setattr(
            "digitscan.training.data.generator.count_usable_cores", lambda count=core_count: count
        )
        train, val = take_digits(0, 1200), take_digits(1200, 1300)
        with AugmentedDataGenerator(train, val, 4, augmentation, 1) as generator:
            runs.append([generator.load_epoch(epoch)[0].images for epoch in range(2)])
    assert all(np.array_equal(images, others) for images, others in zip(*runs, strict=True))


def test_no_image_of_training_is_used_for_calibration(take_digits):
    """Drawn digits and glyphs of fonts come from the same functions, so their seeds must differ."""
    train, val = take_digits(0, 200), take_digits(200, 400)
    with AugmentedDataGenerator(train, val, 4, AugmentationConfig(), 1) as generator:
        trained = {image.tobytes() for epoch in range(4) for image in generator.load_epoch(epoch)[0].images}
        calibration = generator.make_calibration_images()
    assert not any(result.pixels.tobytes() in trained for result in calibration.results)


def test_each_split_is_drawn_from_its_own_writers(take_digits, pens_path):
    """Where the other split's writers have no strokes, nothing changes."""
    train, val = take_digits(0, 40), take_digits(40, 60)
    splits = load_pen_strokes([pens_path]).splits
    runs = []
    for pen_strokes in (splits, {**splits, "val": splits["train"]}, None):
        with AugmentedDataGenerator(train, val, 1, AugmentationConfig(), 1, 0, pen_strokes) as generator:
            runs.append((generator.load_epoch(0)[0].images, generator.validation.images))
    (first, second, without) = runs
    assert np.array_equal(first[0], second[0]) and not np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], without[0])


def test_processes_that_end_while_they_start_end_the_training_with_one_sentence(
    take_digits, tmp_path, monkeypatch
):
    """Nobody waits for them for ever."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 9\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(
        TrainingError, match=r"no process can be started: a process ended with code 9\): free some memory"
    ):
        AugmentedDataGenerator(take_digits(0, 20), take_digits(20, 30), 1, AugmentationConfig(), 1)
