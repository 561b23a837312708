"""A picture of any kind becomes one 28x28 digit as MNIST would show it, or says why not."""

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from digitscan.preprocess import is_light_on_dark, preprocess


def draw_five(size: int = 100, width: int = 5, scale: float = 1.0) -> np.ndarray:
    """Return a 5, ink 255 on 0, in a square frame."""
    points = np.array([(65, 20), (35, 20), (33, 47), (52, 43), (66, 55), (62, 72), (48, 80), (32, 73)])
    placed = np.rint(((points - 50) * scale + 50) * size / 100 * 16).astype(np.int32)
    frame = np.zeros((size, size), np.uint8)
    cv2.polylines(frame, [placed], False, 255, max(1, round(width * size / 100)), cv2.LINE_AA, 4)
    return frame


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two pictures, at best: rounding may move one by a pixel."""
    framed = cv2.copyMakeBorder(first, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return float(cv2.matchTemplate(framed, second, cv2.TM_CCOEFF_NORMED).max())


def pixels_of(picture: np.ndarray) -> np.ndarray:
    """Return what the model sees, which there must be."""
    seen = preprocess(picture)
    assert seen.pixels is not None, seen.refusal
    assert seen.pixels.shape == (28, 28)
    assert seen.pixels.dtype == np.uint8
    return seen.pixels


PLAIN = pixels_of(draw_five())


def test_the_digit_fits_a_box_of_20_and_its_mass_is_in_the_middle() -> None:
    _, _, width, height = cv2.boundingRect((PLAIN > 0).astype(np.uint8))
    moments = cv2.moments(PLAIN)
    assert max(width, height) == 20
    assert abs(moments["m10"] / moments["m00"] - 13.5) <= 0.51
    assert abs(moments["m01"] / moments["m00"] - 13.5) <= 0.51


def test_dark_ink_on_light_paper_gives_the_same_pixels() -> None:
    difference = pixels_of(255 - draw_five()).astype(int) - PLAIN
    assert np.abs(difference).max() <= 12  # sizes are rounded the other way
    small = draw_five(60)
    assert np.array_equal(pixels_of(255 - small), pixels_of(small))


@pytest.mark.parametrize("size", [28, 40, 64, 200, 700])
def test_the_size_of_the_frame_hardly_matters(size: int) -> None:
    assert (
        likeness(pixels_of(draw_five(size, 7)), pixels_of(draw_five(100, 7))) > 0.87
    )  # the pen is whole pixels


def test_a_tiny_digit_in_a_large_frame_is_looked_at_closely() -> None:
    frame = np.full((1500, 2000), 255, np.uint8)
    frame[1000:1060, 300:360] = 255 - draw_five(60, 7)
    seen = preprocess(frame)
    assert seen.pixels is not None
    assert "small in its frame" in seen.notes
    assert likeness(seen.pixels, pixels_of(draw_five(100, 7))) > 0.9


def test_a_shadow_across_the_paper_is_removed() -> None:
    lit = np.linspace(60, 230, 100)[None, :] * (1 - 0.6 * draw_five() / 255.0)
    assert likeness(pixels_of(lit.astype(np.uint8)), PLAIN) > 0.85


def test_faint_ink_is_seen_and_said() -> None:
    seen = preprocess((200 - draw_five() * (25 / 255)).astype(np.uint8))
    assert seen.pixels is not None
    assert "faint" in seen.notes
    assert likeness(seen.pixels, PLAIN) > 0.9


def test_sixteen_bits_and_floats_are_read_in_their_own_range() -> None:
    sixteen = 1000 + draw_five().astype(np.uint16) * 9
    assert likeness(pixels_of(sixteen), PLAIN) > 0.98
    assert likeness(pixels_of(draw_five().astype(np.float32) / 255), PLAIN) > 0.98


def test_specks_and_a_line_of_the_form_are_left_out() -> None:
    page = draw_five()
    page[97:99] = 255
    page[5:7, 5:7] = 255
    page[30, 90] = 255
    assert likeness(pixels_of(page), PLAIN) > 0.97


def test_the_bar_of_a_five_that_stands_apart_is_kept() -> None:
    broken = draw_five()
    broken[26:30] = 0
    assert pixels_of(broken)[:8].max() > 200
    assert pixels_of(broken)[20:].max() > 200


def test_a_thin_stroke_broken_into_dashes_is_kept_whole() -> None:
    whole = np.zeros((28, 28), np.uint8)
    cv2.ellipse(whole, (14, 14), (7, 10), 0, 0, 360, 255, 1)
    dashed = whole.copy()
    dashed[[6, 7, 12, 13, 19, 20]] = 0
    dashed[:, [9, 10, 15, 19]] = 0
    assert cv2.connectedComponents(dashed)[0] > 8
    _, _, width, height = cv2.boundingRect(pixels_of(dashed))
    assert (width, height) == cv2.boundingRect(pixels_of(whole))[2:]


def test_a_tight_crop_whose_ink_fills_the_border_is_not_turned_inside_out() -> None:
    ring = np.zeros((40, 30), np.uint8)
    cv2.ellipse(ring, (15, 20), (11, 16), 0, 0, 360, 255, 5)
    assert is_light_on_dark(ring)
    assert not is_light_on_dark(255 - ring)


def test_a_row_of_digits_is_no_digit() -> None:
    row = np.concatenate([draw_five(60, 7)[:, 12:48]] * 4, axis=1)
    seen = preprocess(255 - row)
    assert seen.pixels is None
    assert seen.refusal == "several digits"


def test_a_long_strip_is_looked_at_closely_enough_to_see_its_digits() -> None:
    strip = np.concatenate([draw_five(80, 7)[:, 15:65]] * 12, axis=1)
    assert preprocess(255 - strip).refusal == "several digits"


def test_digits_here_and_there_on_a_page_are_several() -> None:
    page = np.zeros((900, 700), np.uint8)
    for top, left in ((40, 500), (250, 80), (300, 400), (600, 150), (650, 550)):
        page[top : top + 120, left : left + 120] = draw_five(120, 8)
    assert preprocess(255 - page).refusal == "several digits"


@pytest.mark.parametrize("lean", [0, 4, -4])
def test_a_narrow_crop_of_a_one_is_not_turned_inside_out(lean: int) -> None:
    bar = np.zeros((60, 16), np.uint8)
    cv2.line(bar, (8 - lean, 0), (8 + lean, 59), 255, 7, cv2.LINE_AA)
    assert is_light_on_dark(bar)
    assert not is_light_on_dark(255 - bar)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_even_paper_is_blank(level: int) -> None:
    assert preprocess(np.full((50, 70), level, np.uint8)).refusal == "blank"


def test_grainy_paper_is_blank() -> None:
    grain = np.random.default_rng(0).normal(180, 4, (120, 90)).clip(0, 255).astype(np.uint8)
    assert preprocess(grain).refusal == "blank"


shapes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=130)
pictures = st.one_of(
    arrays.arrays(np.uint8, shapes),
    arrays.arrays(np.uint16, shapes),
    arrays.arrays(np.float32, shapes, elements=st.floats(width=32)),
    arrays.arrays(np.float64, shapes, elements=st.floats()),
    st.builds(
        lambda shape, seed: np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8),
        shapes,
        st.integers(0, 1000),
    ),
)


@hypothesis.given(pictures)
@hypothesis.settings(deadline=None, max_examples=150)
def test_any_array_gets_pixels_or_a_refusal_and_never_an_error(picture: np.ndarray) -> None:
    seen = preprocess(picture)
    assert (seen.pixels is None) == (seen.refusal is not None)
    if seen.pixels is not None:
        assert seen.pixels.shape == (28, 28)
        assert seen.pixels.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 900), (2, 2)])
def test_odd_frames_never_raise(shape: tuple[int, int]) -> None:
    for seed in range(5):
        preprocess(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))
        preprocess((np.arange(shape[0] * shape[1]) % 2 * 255).astype(np.uint8).reshape(shape))
