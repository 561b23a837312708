"""Probabilities of lines: those of Keras, and the same for a line whichever others are classified with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.model.line_classifier import BLOCK_WIDTHS, LineClassifier, find_block_width
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model

Line = NDArray[np.uint8]


def make_line(width: int) -> Line:
    return np.random.default_rng(width).integers(0, 256, (32, width)).astype(np.uint8)


@pytest.fixture(scope="module")
def classifier(saved_line_model: Model) -> LineClassifier:
    return LineClassifier(saved_line_model.read_compiled(), saved_line_model.metadata)


@pytest.mark.parametrize("width", [32, 100, 128, 300])
def test_probabilities_agree_with_keras_on_the_line_with_paper_behind_it(
    classifier: LineClassifier, small_line_network: Any, width: int
) -> None:
    line = make_line(width)
    padded = np.zeros((1, 32, find_block_width(width), 1), np.float32)
    padded[0, :, :width, 0] = line / np.float32(255)
    (actual,) = classifier.classify([line])
    assert actual.dtype == np.float32
    assert np.allclose(actual.sum(axis=1), 1.0, atol=1e-6)
    expected = np.asarray(small_line_network(padded, training=False))[0, 0, : len(actual)]
    assert np.abs(actual - expected).max() < 0.02


@pytest.mark.parametrize(
    ("width", "steps"), [(1, 2), (4, 2), (5, 3), (32, 8), (33, 10), (125, 32), (2048, 512), (2049, 514)]
)
def test_a_line_has_a_step_for_each_4_pixels_and_one_more_where_there_is_room(
    classifier: LineClassifier, width: int, steps: int
) -> None:
    (probabilities,) = classifier.classify([make_line(width)])
    assert probabilities.shape == (steps, 13)


@settings(max_examples=15)
@given(st.lists(st.sampled_from([1, 30, 31, 32, 64, 65, 200, 500]), max_size=6), st.randoms())
def test_a_line_has_the_same_probabilities_in_any_company_and_order(
    classifier: LineClassifier, widths: list[int], random: Any
) -> None:
    alone = {width: classifier.classify([make_line(width)])[0] for width in widths}
    random.shuffle(widths)
    together = classifier.classify([make_line(width) for width in widths])
    assert len(together) == len(widths)
    assert all(np.array_equal(alone[width], each) for width, each in zip(widths, together, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_another_classifier_on_any_number_of_threads_gives_the_same(
    classifier: LineClassifier, saved_line_model: Model, threads: int
) -> None:
    other = LineClassifier(saved_line_model.read_compiled(), saved_line_model.metadata, threads)
    lines = [make_line(width) for width in (40, 640)]
    for actual, expected in zip(other.classify(lines), classifier.classify(lines), strict=True):
        assert np.array_equal(actual, expected)


@given(st.integers(1, 10_000))
def test_a_block_is_as_wide_as_its_line_or_wider_and_by_less_than_half(width: int) -> None:
    block_width = find_block_width(width)
    assert width <= block_width
    assert block_width % 32 == 0
    assert block_width - width < max(32, block_width / 2)
    assert width > BLOCK_WIDTHS[-1] or block_width in BLOCK_WIDTHS


def test_a_model_of_digits_is_refused(saved_model: Model) -> None:
    with pytest.raises(ModelError, match="the model reads single digits, not numbers"):
        LineClassifier(saved_model.read_compiled(), saved_model.metadata)


def test_a_compiled_model_of_digits_with_metadata_of_numbers_is_refused(
    saved_model: Model, line_metadata: ModelMetadata
) -> None:
    with pytest.raises(ModelError, match="delete it, and it will be compiled again"):
        LineClassifier(saved_model.read_compiled(), line_metadata)


def test_a_model_of_another_preprocessing_version_is_refused(
    saved_line_model: Model, line_metadata: ModelMetadata
) -> None:
    metadata = dataclasses.replace(line_metadata, preprocess_version=99)
    with pytest.raises(ModelError, match="was trained with preprocessing version 99"):
        LineClassifier(saved_line_model.read_compiled(), metadata)
