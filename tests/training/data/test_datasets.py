"""Labelled images are split the same way each time, and preprocessed as in a scan."""

import numpy as np

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.datasets import Dataset, preprocess_dataset, split_train_val


def test_a_twelfth_of_the_training_images_is_for_validation_and_never_trained_on():
    images = np.arange(1200, dtype=np.uint16)
    train, val = split_train_val(images, images % 10)
    assert (len(train.images), len(val.images)) == (1100, 100)
    assert sorted([*train.images, *val.images]) == images.tolist()


def test_few_images_are_split_so_that_ten_are_for_validation():
    images = np.arange(24)
    _, val = split_train_val(images, images % 10)
    assert len(val.images) == 10


def test_the_split_is_the_same_each_time_and_keeps_images_with_their_labels():
    images = np.arange(500)
    parts = [split_train_val(images, images % 10) for _ in range(2)]
    for first, second in zip(*parts, strict=True):
        assert np.array_equal(first.images, second.images)
        assert np.array_equal(first.labels, first.images % 10)


def test_a_preprocessed_dataset_holds_what_preprocess_returns(digits):
    result = preprocess_dataset(digits)
    assert np.array_equal(result.labels, digits.labels)
    assert all(
        np.array_equal(pixels, preprocess(image).pixels)
        for pixels, image in zip(result.images, digits.images, strict=True)
    )


def test_an_image_without_a_digit_becomes_black():
    white = np.full((1, 28, 28), 255, np.uint8)
    result = preprocess_dataset(Dataset(white, np.zeros(1, np.uint8)))
    assert result.images.shape == (1, 28, 28)
    assert not result.images.any()
