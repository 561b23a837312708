"""Small pictures looked at together: pixel for pixel what each gives alone."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from digitscan.imaging import preprocess_batch as together
from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.preprocess_batch import MAX_SIDE, MIN_BATCH, is_batchable, preprocess_batch
from digitscan.training.data.sources import load_data

SHAPES = st.tuples(st.integers(1, MAX_SIDE + 2), st.integers(1, MAX_SIDE + 2))


@pytest.fixture(scope="module")
def digits():
    return load_data().x_train[:400]


def are_the_same(one, other):
    if (one.notes, one.rejection, one.digit_size) != (other.notes, other.rejection, other.digit_size):
        return False
    if one.pixels is None or other.pixels is None:
        return one.pixels is other.pixels
    return np.array_equal(one.pixels, other.pixels) and one.pixels.dtype == other.pixels.dtype


def all_as_alone(pictures):
    looked = preprocess_batch(pictures)
    return len(looked) == len(pictures) and all(map(are_the_same, looked, map(preprocess, pictures)))


def variants(digits):
    """Digits as they are, dark on light, faint, on gray paper, on noisy paper, of other sizes, two in one."""
    random = np.random.default_rng(1)
    yield digits
    yield 255 - digits
    yield digits // 8 + 100
    yield 230 - digits // 2
    yield np.clip(digits + random.normal(30, 6, digits.shape), 0, 255).astype(np.uint8)
    yield np.clip(digits // 2 + np.arange(0, 112, 4), 0, 255).astype(np.uint8)
    yield np.maximum(digits, np.roll(digits, 14, axis=2))
    for width, height in [(20, 20), (32, 32), (31, 17), (12, 30), (24, 8), (8, 30)]:
        yield np.stack([cv2.resize(digit, (width, height)) for digit in digits])
    yield np.stack([digit[4:24, 4:24] for digit in digits])


@pytest.mark.parametrize("variant", range(14))
def test_digits_of_all_kinds_come_out_as_alone(digits, variant):
    assert all_as_alone(list(list(variants(digits))[variant]))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=MIN_BATCH, max_size=12), SHAPES)
def test_noise_and_scribbles_come_out_as_alone(seeds, shape):
    pictures = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        paper = np.full(shape, random.integers(256), np.uint8)
        for _ in range(random.integers(4)):
            ends = [(int(x), int(y)) for x, y in random.integers(0, max(shape), (2, 2))]
            cv2.line(paper, *ends, int(random.integers(256)), int(random.integers(1, 5)))
        noise = random.integers(0, random.integers(1, 60), shape)
        pictures.append(np.clip(paper + noise, 0, 255).astype(np.uint8))
    assert all_as_alone(pictures)


@given(
    arrays.arrays(np.uint8, st.tuples(st.just(MIN_BATCH), st.integers(1, 8), st.integers(1, 8))),
)
def test_any_pixels_come_out_as_alone(pictures):
    assert all_as_alone(list(pictures))


def test_sizes_and_kinds_may_be_mixed_and_keep_their_places(digits):
    pictures = []
    for number, digit in enumerate(digits[:60]):
        size = (28, 28, 20, 200, 33)[number % 5]
        picture = cv2.resize(digit, (size, size))
        pictures.append(picture.astype(np.uint16) * 200 if number % 7 == 0 else picture)
    assert all_as_alone(pictures)
    assert preprocess_batch([]) == []


def test_what_is_in_company_does_not_matter(digits):
    """The same pixels for any number of pictures at once, and any others among them."""
    whole = preprocess_batch(list(digits[:300]))
    parts = [one for start in range(0, 300, 9) for one in preprocess_batch(list(digits[start : start + 9]))]
    assert all(map(are_the_same, whole, parts))


def test_most_digits_need_no_look_alone(digits, monkeypatch):
    alone = []

    def counted(picture):
        alone.append(picture)
        return preprocess(picture)

    monkeypatch.setattr(together, "preprocess", counted)
    preprocess_batch(list(digits))
    assert 0 < len(alone) < 0.1 * len(digits)
    assert is_batchable(digits[0]) and not is_batchable(np.zeros((33, 20), np.uint8))
