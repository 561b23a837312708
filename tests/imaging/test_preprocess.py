"""A picture of any kind becomes one 28x28 digit as MNIST would show it, or says why not."""

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from digitscan.imaging.ink import is_light_on_dark, measure_ink, subtract_background
from digitscan.imaging.normalize import (
    centre_by_mass,
    downscale,
    downscale_by_area,
    fit_into_box,
    stretch_contrast,
    to_uint8,
)
from digitscan.imaging.preprocess import preprocess


def draw_five(size: int = 100, width: float = 5, scale: float = 1.0) -> np.ndarray:
    """Return a 5, ink 255 on 0, in a square frame."""
    points = np.array([(65, 20), (35, 20), (33, 47), (52, 43), (66, 55), (62, 72), (48, 80), (32, 73)])
    placed = np.rint(((points - 50) * scale + 50) * size / 100 * 16).astype(np.int32)
    frame = np.zeros((size, size), np.uint8)
    cv2.polylines(frame, [placed], False, 255, max(1, round(width * size / 100)), cv2.LINE_AA, 4)
    return frame


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two pictures, at best: rounding may move one by a pixel."""
    framed = cv2.copyMakeBorder(first, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return float(cv2.matchTemplate(framed, second, cv2.TM_CCOEFF_NORMED).max())


def pixels_of(picture: np.ndarray) -> np.ndarray:
    """Return what the model sees, which there must be."""
    seen = preprocess(picture)
    assert seen.pixels is not None, seen.rejection
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
        correlation(pixels_of(draw_five(size, 7)), pixels_of(draw_five(100, 7))) > 0.87
    )  # the pen is whole pixels


def test_a_tiny_digit_in_a_large_frame_is_looked_at_closely() -> None:
    frame = np.full((1500, 2000), 255, np.uint8)
    frame[1000:1060, 300:360] = 255 - draw_five(60, 7)
    seen = preprocess(frame)
    assert seen.pixels is not None
    assert seen.notes.count("small in its frame") == 1
    assert correlation(seen.pixels, pixels_of(draw_five(100, 7))) > 0.9


def test_a_shadow_across_the_paper_is_removed() -> None:
    lit = np.linspace(60, 230, 100)[None, :] * (1 - 0.6 * draw_five() / 255.0)
    assert correlation(pixels_of(lit.astype(np.uint8)), PLAIN) > 0.85


def test_faint_ink_is_seen_and_said() -> None:
    seen = preprocess((200 - draw_five() * (25 / 255)).astype(np.uint8))
    assert seen.pixels is not None
    assert "faint" in seen.notes
    assert correlation(seen.pixels, PLAIN) > 0.9


def test_sixteen_bits_and_floats_are_read_in_their_own_range() -> None:
    sixteen = 1000 + draw_five().astype(np.uint16) * 9
    assert correlation(pixels_of(sixteen), PLAIN) > 0.98
    assert correlation(pixels_of(draw_five().astype(np.float32) / 255), PLAIN) > 0.98


def test_specks_and_a_line_of_the_form_are_left_out() -> None:
    page = draw_five()
    page[97:99] = 255
    page[5:7, 5:7] = 255
    page[30, 90] = 255
    assert correlation(pixels_of(page), PLAIN) > 0.97


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
    assert seen.rejection == "several digits"


@pytest.mark.parametrize(("gap", "stacked"), [(8, False), (20, False), (60, False), (60, True)])
@pytest.mark.parametrize("size", [90, 600])
def test_two_digits_are_several(gap: int, stacked: bool, size: int) -> None:
    """Side by side from a narrow gap on; one above the other where no digit's parts lie so far apart."""
    five = draw_five(90, 6)[15:75, 25:65]
    frame = np.zeros((180, 180), np.uint8)
    down, right = (60 + gap, 0) if stacked else (0, 40 + gap)
    top, left = (180 - 60 - down) // 2, (180 - 40 - right) // 2
    frame[top : top + 60, left : left + 40] = five
    frame[top + down : top + down + 60, left + right : left + right + 40] = five
    frame = cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR)
    assert preprocess(255 - frame).rejection == "several digits"


def test_a_neighbour_that_the_edge_cuts_is_left_out_and_said() -> None:
    frame = np.zeros((180, 180), np.uint8)
    frame[60:120, 70:110] = draw_five(90, 6)[15:75, 25:65]
    frame[60:120, :20] = draw_five(90, 6)[15:75, 45:65]
    seen = preprocess(255 - frame)
    assert seen.pixels is not None and correlation(seen.pixels, PLAIN) > 0.9
    assert "parts left out" in seen.notes


def test_a_closer_look_keeps_what_the_first_one_saw() -> None:
    frame = np.full((900, 900), 30, np.uint8)
    frame[:, :300] = 40
    frame[500:650, 400:500] = np.maximum(draw_five(225, 8)[37:187, 62:162], 30)
    frame[200:265, 700:765] = 255
    notes = preprocess(frame).notes
    assert notes[0] == "small in its frame"
    assert "parts left out" in notes and notes.count("light on dark") == 1


def test_a_long_strip_is_looked_at_closely_enough_to_see_its_digits() -> None:
    strip = np.concatenate([draw_five(80, 7)[:, 15:65]] * 12, axis=1)
    assert preprocess(255 - strip).rejection == "several digits"


def test_a_thin_pen_does_not_hide_the_neighbours_in_a_strip() -> None:
    """A strip's area says nothing of its digits' size: one heavier than nine others was read alone."""
    strip = np.zeros((114, 724), np.uint8)
    for left in range(20, 650, 70):
        strip[30:90, left : left + 60] = draw_five(60, 2)
    strip[30:90, 650:710] = draw_five(60, 5)
    assert preprocess(255 - strip).rejection == "several digits"


def test_the_edge_of_a_table_along_the_sheet_is_no_one() -> None:
    sheet = np.full((300, 400), 200, np.uint8)
    sheet[:, :24] = 20
    assert preprocess(sheet).rejection == "lines without a digit"


def test_digits_here_and_there_on_a_page_are_several() -> None:
    page = np.zeros((900, 700), np.uint8)
    for top, left in ((40, 500), (250, 80), (300, 400), (600, 150), (650, 550)):
        page[top : top + 120, left : left + 120] = draw_five(120, 8)
    assert preprocess(255 - page).rejection == "several digits"


@pytest.mark.parametrize("lean", [0, 4, -4])
def test_a_narrow_crop_of_a_one_is_not_turned_inside_out(lean: int) -> None:
    bar = np.zeros((60, 16), np.uint8)
    cv2.line(bar, (8 - lean, 0), (8 + lean, 59), 255, 7, cv2.LINE_AA)
    assert is_light_on_dark(bar)
    assert not is_light_on_dark(255 - bar)


def on_squared_paper() -> np.ndarray:
    paper = np.full((100, 100), 235, np.uint8)
    paper[::20] = paper[:, ::20] = 195
    return np.minimum(paper, 255 - draw_five())


def in_a_vignette() -> np.ndarray:
    down, across = np.mgrid[-1:1:100j, -1:1:100j]
    return ((220 - 60 * (down**2 + across**2)) * (1 - 0.7 * draw_five() / 255)).astype(np.uint8)


def with_a_corner_of_its_box() -> np.ndarray:
    page = 255 - draw_five()
    page[:, 1:3] = page[97:99] = 40
    return page


def with_a_scrap_of_its_neighbour() -> np.ndarray:
    page = draw_five()
    cv2.line(page, (99, 30), (94, 60), 255, 4, cv2.LINE_AA)
    return 255 - page


@pytest.mark.parametrize(
    ("picture", "at_least"),
    [
        (on_squared_paper(), 0.95),
        (in_a_vignette(), 0.9),
        (with_a_corner_of_its_box(), 0.95),
        (with_a_scrap_of_its_neighbour(), 0.95),
        (140 - (draw_five() * 0.1).astype(np.uint8), 0.95),
        (draw_five(3000, 5)[:, 0:], 0.85),
        (draw_five(100, 5, 1.6), 0.8),
        (draw_five(16, 9), 0.7),
        (draw_five(100, 1), 0.6),
        (draw_five(100, 16), 0.65),
    ],
    ids=[
        "squared paper",
        "vignette",
        "corner of a box",
        "scrap of a neighbour",
        "low contrast",
        "3000 pixels a side",
        "fills its frame",
        "16 pixels a side",
        "a pen of one pixel",
        "a very thick pen",
    ],
)
def test_what_users_have_looks_like_the_plain_digit(picture: np.ndarray, at_least: float) -> None:
    assert correlation(pixels_of(picture), PLAIN) > at_least


@pytest.mark.parametrize(("size", "pen"), [(500, 1), (700, 1), (1000, 2), (2000, 5), (3000, 6)])
def test_a_line_as_thin_as_a_mouse_draws_is_not_lost_in_a_large_frame(size: int, pen: int) -> None:
    thin = pixels_of(255 - draw_five(size, pen * 100 / size))
    assert correlation(thin, pixels_of(draw_five(100, 1))) > 0.7


def test_a_digit_cut_by_the_edge_keeps_what_is_there() -> None:
    seen = pixels_of(255 - draw_five()[:, :60])
    assert seen[:4].max() == 0
    assert (seen.max(axis=1) > 128).sum() >= 18


def test_a_huge_picture_is_reduced_to_its_long_side() -> None:
    page = np.zeros((3000, 4000), np.uint8)
    page[:, 1950:2050] = 255
    small, scale = downscale(page, 96)
    assert small.shape == (72, 96)
    assert scale == pytest.approx(96 / 4000)
    assert small[:, 45:51].max(axis=1).min() > 200
    assert small[:, :40].max() == 0


def test_averaging_down_looks_at_every_pixel() -> None:
    page = np.zeros((1201, 1601), np.uint8)
    page[:1200, 800] = 255
    small = downscale_by_area(page, (48, 64))
    assert small.shape == (48, 64)
    assert small.sum(axis=1) == pytest.approx(255 / 25, abs=3)


def test_any_range_is_stretched_to_eight_bits_and_no_number_is_the_median() -> None:
    values = np.array([[0.5, 1.5, np.nan, np.inf, -np.inf, 1.1]])
    assert to_uint8(values).tolist() == [[0, 255, 153, 255, 0, 153]]
    assert not to_uint8(np.full((3, 3), np.nan)).any()


@pytest.mark.parametrize("stray", [-9999.0, 0.0, 65535.0, np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_a_stray_pixel_does_not_hide_the_digit(stray: float, dtype: type) -> None:
    """A hot one, one that means no data, one that is no number."""
    picture = (1000.0 - draw_five() * 0.5).astype(dtype)
    if dtype is np.uint16 and not 0.0 <= stray < np.inf:
        stray = 65535.0
    picture[7, 90] = stray
    assert correlation(pixels_of(picture), PLAIN) > 0.97


@pytest.mark.parametrize("dtype", [">u2", "<u2", "i2", "u4", "i8", "f2", "f4", ">f4", "f8", "g", "?"])
def test_any_type_and_layout_is_read_and_left_as_it_was(dtype: str) -> None:
    """Big-endian, transposed, stepped, backwards and read-only arrays."""
    plain = (draw_five() > 99).astype(dtype)
    wide = np.zeros((200, 200), dtype)
    wide[::2, ::2] = plain
    for picture in (plain, np.asfortranarray(plain), wide[::2, ::2], plain[::-1, ::-1][::-1, ::-1]):
        before = picture.copy()
        picture.flags.writeable = False
        assert correlation(pixels_of(picture), PLAIN) > 0.9
        assert np.array_equal(picture, before)


def test_paper_with_a_gradient_becomes_zero_and_ink_stays() -> None:
    gradient = np.tile(np.linspace(20, 120, 100), (100, 1))
    flat = subtract_background(np.clip(gradient + 0.5 * draw_five(), 0, 255).astype(np.uint8))
    away = cv2.dilate(draw_five(), np.ones((9, 9), np.uint8)) == 0
    assert flat[away].max() <= 25  # most at the edge, beyond which no paper is known
    assert flat[away].mean() < 4
    assert flat[draw_five() == 255].min() > 100


def test_ink_is_measured_by_how_far_it_stands_out_and_paper_by_its_noise() -> None:
    random = np.random.default_rng(1)
    page = np.where(draw_five() > 128, 150, 20) + random.normal(0, 3, (100, 100))
    _, threshold, strength, noise = measure_ink(page.astype(np.uint8))
    assert 20 < threshold < 150
    assert strength == pytest.approx(130, abs=2)
    assert noise == pytest.approx(3, abs=0.5)


def test_full_ink_is_stretched_to_255_and_grain_to_nothing() -> None:
    ink = np.array([[0, 5, 60, 110, 120]], np.uint8)
    assert stretch_contrast(ink, 60, 110).tolist()[0][:2] == [0, 0]
    assert stretch_contrast(ink, 60, 110).tolist()[0][4] == 255


def test_a_shape_keeps_its_proportions_in_the_box_and_goes_to_the_middle_by_mass() -> None:
    fitted = fit_into_box(np.full((60, 15), 255, np.uint8))
    assert fitted.shape == (20, 5)
    heavy_below = fitted.copy()
    heavy_below[:10] = 60
    centred = centre_by_mass(heavy_below)
    assert centred.shape == (28, 28)
    rows = np.arange(28) @ centred.sum(axis=1) / centred.sum()
    assert abs(rows - 13.5) <= 0.51


@pytest.mark.parametrize("level", [0, 128, 255])
def test_even_paper_is_blank(level: int) -> None:
    assert preprocess(np.full((50, 70), level, np.uint8)).rejection == "blank"


def test_grainy_paper_is_blank() -> None:
    grain = np.random.default_rng(0).normal(180, 4, (120, 90)).clip(0, 255).astype(np.uint8)
    assert preprocess(grain).rejection == "blank"


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
    assert (seen.pixels is None) == (seen.rejection is not None)
    if seen.pixels is not None:
        assert seen.pixels.shape == (28, 28)
        assert seen.pixels.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 900), (2, 2)])
def test_odd_frames_never_raise(shape: tuple[int, int]) -> None:
    for seed in range(5):
        preprocess(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))
        preprocess((np.arange(shape[0] * shape[1]) % 2 * 255).astype(np.uint8).reshape(shape))
