"""Datasets of lines follow from their seed alone."""

import itertools

import numpy as np
import pytest

from digitscan.training.data.number_generator import LineCounts, NumberDataGenerator, NumberSources

COUNTS = LineCounts(train=40, val=20, calibration=20, test=20)


@pytest.fixture(scope="module")
def sources(digits):
    return NumberSources({"train": digits, "val": digits, "test": digits}, {})


def load(sources, seed, epochs, first_epoch=0):
    with NumberDataGenerator(sources, seed, 2, first_epoch, COUNTS) as generator:
        return generator.validation, [generator.load_epoch(epoch) for epoch in epochs]


def is_same(one, other):
    return len(one) == len(other) and all(
        a.symbols == b.symbols and np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True)
    )


def test_a_resumed_run_gets_the_lines_of_the_whole_one(sources):
    _, whole = load(sources, 5, range(4))
    _, resumed = load(sources, 5, (3,), first_epoch=3)
    assert is_same(whole[3], resumed[0])


def test_a_dataset_serves_its_epochs_and_then_there_is_another(sources):
    validation, epochs = load(sources, 5, range(3))
    assert is_same(epochs[0], epochs[1])
    assert not is_same(epochs[1], epochs[2])
    assert not is_same(validation, epochs[0])
    assert len(epochs[0]) > 30


def test_lines_for_calibration_and_tests_are_none_of_the_others(sources):
    with NumberDataGenerator(sources, 5, 2, counts=COUNTS) as generator:
        datasets = [
            generator.validation,
            generator.load_epoch(0),
            generator.make_calibration_lines(),
            generator.make_test_lines(),
        ]
    for one, other in itertools.combinations(datasets, 2):
        assert not {line.pixels.tobytes() for line in one} & {line.pixels.tobytes() for line in other}
