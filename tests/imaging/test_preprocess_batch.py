"""A batch gives what `preprocess` gives for each of its images, pixel for pixel and note for note."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digitscan.imaging import preprocess_batch as preprocess_batch_module
from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.preprocess_batch import BATCH_SIDE, MIN_BATCH, is_batchable, preprocess_batch
from digitscan.training.data.sources import load_data
from tests.support.pictures import are_equal

SHAPE = (BATCH_SIDE, BATCH_SIDE)
SHAPES = st.one_of(st.just(SHAPE), st.tuples(st.integers(1, BATCH_SIDE + 2), st.integers(1, BATCH_SIDE + 2)))


@pytest.fixture(scope="module")
def digits():
    return load_data().x_train[:400]


def assert_equals_preprocess(images):
    results = preprocess_batch(images)
    assert len(results) == len(images)
    for result, image in zip(results, images, strict=True):
        assert are_equal(result, preprocess(image))


def add_noise(digits):
    noise = np.random.default_rng(1).normal(30, 6, digits.shape)
    return np.clip(digits + noise, 0, 255).astype(np.uint8)


def draw_rule(digits):
    ruled = digits.copy()
    ruled[:, 25] = 200
    return ruled


def draw_box(digits):
    boxed = digits.copy()
    boxed[:, [1, 26], 1:27] = boxed[:, 1:27, [1, 26]] = 200
    return boxed


@pytest.mark.parametrize(
    "change",
    [
        lambda digits: digits,
        lambda digits: 255 - digits,
        lambda digits: digits // 8 + 100,
        lambda digits: (digits * (np.arange(len(digits))[:, None, None] % 60 / 255) + 90).astype(np.uint8),
        lambda digits: 230 - digits // 2,
        add_noise,
        lambda digits: np.clip(digits // 2 + np.arange(0, 112, 4), 0, 255).astype(np.uint8),
        lambda digits: np.maximum(digits, np.roll(digits, 14, axis=2)),
        lambda digits: np.roll(digits, 9, axis=1),
        draw_rule,
        draw_box,
        lambda digits: digits[:, 4:24, 4:24],
    ],
    ids=[
        "unchanged",
        "dark on light",
        "faint",
        "fainter and fainter",
        "gray paper",
        "noisy paper",
        "gradient",
        "two digits",
        "cut by the edge",
        "on a rule",
        "in a box",
        "tight crop",
    ],
)
def test_mnist_digits_give_the_same_as_alone(digits, change):
    assert_equals_preprocess(list(change(digits)))


@pytest.mark.parametrize("size", [(20, 20), (32, 32), (31, 17), (12, 30), (24, 8), (8, 30)])
def test_digits_of_other_sizes_give_the_same_as_alone(digits, size):
    assert_equals_preprocess([cv2.resize(digit, size) for digit in digits])


@given(st.lists(st.integers(0, 2**32 - 1), min_size=MIN_BATCH, max_size=12), SHAPES)
def test_noise_and_scribbles_give_the_same_as_alone(seeds, shape):
    images = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        paper = np.full(shape, random.integers(256), np.uint8)
        for _ in range(random.integers(4)):
            ends = [(int(x), int(y)) for x, y in random.integers(0, max(shape), (2, 2))]
            cv2.line(paper, *ends, int(random.integers(256)), int(random.integers(1, 5)))
        noise = random.integers(0, random.integers(1, 60), shape)
        images.append(np.clip(paper + noise, 0, 255).astype(np.uint8))
    assert_equals_preprocess(images)


@given(
    st.one_of(
        arrays(np.uint8, st.tuples(st.just(MIN_BATCH), st.integers(1, 8), st.integers(1, 8))),
        arrays(np.uint8, (MIN_BATCH, *SHAPE)),
    )
)
def test_any_pixels_give_the_same_as_alone(images):
    assert_equals_preprocess(list(images))


def test_sizes_and_dtypes_may_be_mixed_and_keep_their_order(digits):
    images = []
    for index, digit in enumerate(digits[:60]):
        size = (28, 28, 20, 200, 33)[index % 5]
        image = cv2.resize(digit, (size, size))
        images.append(image.astype(np.uint16) * 200 if index % 7 == 0 else image)
    assert_equals_preprocess(images)


def test_no_images_give_no_results():
    assert preprocess_batch([]) == []


def test_the_other_images_of_a_batch_do_not_matter(digits):
    together = preprocess_batch(list(digits[:300]))
    in_nines = [
        result for start in range(0, 300, 9) for result in preprocess_batch(list(digits[start : start + 9]))
    ]
    assert all(map(are_equal, together, in_nines))


def test_most_digits_take_the_fast_path(digits, monkeypatch):
    alone = []
    monkeypatch.setattr(
        preprocess_batch_module, "preprocess", lambda image: alone.append(image) or preprocess(image)
    )
    preprocess_batch(list(digits))
    assert 0 < len(alone) < 0.1 * len(digits)


def test_faint_digits_are_left_to_preprocess(digits, monkeypatch):
    """Their strokes are searched for in the grain of the paper."""
    alone = []
    monkeypatch.setattr(
        preprocess_batch_module, "preprocess", lambda image: alone.append(image) or preprocess(image)
    )
    results = preprocess_batch(list(digits // 16 + 100))
    assert len(alone) == len(digits)
    assert all("faint" in result.notes for result in results if result.pixels is not None)


def test_only_images_of_8_bits_and_of_mnists_size_may_take_the_fast_path(digits):
    """A larger one may be unevenly lit, and in a smaller one a digit of 20 pixels may be a printed line."""
    assert is_batchable(digits[0])
    assert not is_batchable(digits[0].astype(np.uint16))
    for height, width in ((-1, 0), (0, -1), (1, 0), (0, 1)):
        shape = (BATCH_SIDE + height, BATCH_SIDE + width)
        assert not is_batchable(np.zeros(shape, np.uint8))
