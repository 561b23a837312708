"""An image of any kind becomes one 28x28 digit in MNIST's format, or says why there is none."""

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from digitscan.imaging.preprocess import MAX_CANDIDATES, list_candidates, preprocess
from tests.support.pictures import are_equal, correlate, draw_five


def preprocess_digit(image):
    """Return the pixels for an image in which there must be a digit."""
    result = preprocess(image)
    assert result.pixels is not None, result.rejection
    assert (result.pixels.shape, result.pixels.dtype) == ((28, 28), np.uint8)
    return result.pixels


PLAIN_FIVE = preprocess_digit(draw_five())


def test_the_digit_fits_a_box_of_20_with_its_centre_of_mass_at_the_centre():
    _, _, width, height = cv2.boundingRect((PLAIN_FIVE > 0).astype(np.uint8))
    moments = cv2.moments(PLAIN_FIVE)
    assert max(width, height) == 20
    assert abs(moments["m10"] / moments["m00"] - 13.5) <= 0.51
    assert abs(moments["m01"] / moments["m00"] - 13.5) <= 0.51


def test_dark_ink_on_light_paper_gives_the_same_pixels():
    difference = preprocess_digit(255 - draw_five()).astype(int) - PLAIN_FIVE
    assert np.abs(difference).max() <= 12  # interpolated values are rounded the other way
    small = draw_five(60)
    assert np.array_equal(preprocess_digit(255 - small), preprocess_digit(small))


@pytest.mark.parametrize(
    ("image", "notes"),
    [
        (draw_five(), ("light on dark",)),
        (255 - draw_five(), ()),
        ((200 - draw_five() * (25 / 255)).astype(np.uint8), ("faint",)),
    ],
    ids=["light on dark", "dark on light", "faint"],
)
def test_notes_say_how_the_ink_was_found(image, notes):
    result = preprocess(image)
    assert result.notes == notes
    assert correlate(result.pixels, PLAIN_FIVE) > 0.9


@pytest.mark.parametrize("size", [28, 40, 64, 200, 700])
def test_the_size_of_the_image_hardly_matters(size):
    expected = preprocess_digit(draw_five(100, 7))
    assert correlate(preprocess_digit(draw_five(size, 7)), expected) > 0.87  # pens are of whole pixels


@pytest.mark.parametrize("size", [100, 1000])
def test_the_digits_size_is_in_pixels_of_the_given_image(size):
    assert preprocess(draw_five(size)).digit_size == pytest.approx(0.66 * size, rel=0.05)


def add_squared_paper():
    paper = np.full((100, 100), 235, np.uint8)
    paper[::20] = paper[:, ::20] = 195
    return np.minimum(paper, 255 - draw_five())


def add_vignette():
    y, x = np.mgrid[-1:1:100j, -1:1:100j]
    return ((220 - 60 * (y**2 + x**2)) * (1 - 0.7 * draw_five() / 255)).astype(np.uint8)


def add_shadow():
    return (np.linspace(60, 230, 100)[None, :] * (1 - 0.6 * draw_five() / 255)).astype(np.uint8)


def add_corner_of_a_box():
    page = 255 - draw_five()
    page[:, 1:3] = page[97:99] = 40
    return page


def add_scrap_of_a_neighbour():
    page = draw_five()
    cv2.line(page, (99, 30), (94, 60), 255, 4, cv2.LINE_AA)
    return 255 - page


@pytest.mark.parametrize(
    ("image", "min_correlation"),
    [
        (add_squared_paper(), 0.95),
        (add_vignette(), 0.9),
        (add_shadow(), 0.85),
        (add_corner_of_a_box(), 0.95),
        (add_scrap_of_a_neighbour(), 0.95),
        (140 - (draw_five() * 0.1).astype(np.uint8), 0.95),
        (draw_five(3000, 5), 0.85),
        (draw_five(100, 5, 1.6), 0.8),
        (draw_five(16, 9), 0.7),
        (draw_five(100, 1), 0.6),
        (draw_five(100, 16), 0.65),
    ],
    ids=[
        "squared paper",
        "vignette",
        "shadow",
        "corner of a box",
        "scrap of a neighbour",
        "low contrast",
        "3000 pixels a side",
        "fills the image",
        "16 pixels a side",
        "a pen of one pixel",
        "a very thick pen",
    ],
)
def test_a_five_from_users_images_looks_like_the_plain_one(image, min_correlation):
    assert correlate(preprocess_digit(image), PLAIN_FIVE) > min_correlation


@pytest.mark.parametrize(("size", "pen"), [(500, 1), (700, 1), (1000, 2), (2000, 5), (3000, 6)])
def test_a_line_as_thin_as_a_mouse_draws_is_not_lost_in_a_large_image(size, pen):
    pixels = preprocess_digit(255 - draw_five(size, pen * 100 / size))
    assert correlate(pixels, preprocess_digit(draw_five(100, 1))) > 0.7


def test_a_digit_cut_off_by_the_edge_keeps_what_is_there():
    pixels = preprocess_digit(255 - draw_five()[:, :60])
    assert pixels[:4].max() == 0
    assert (pixels.max(axis=1) > 128).sum() >= 18


def test_a_small_digit_in_a_large_image_is_cut_out_and_preprocessed_again():
    page = np.full((1500, 2000), 255, np.uint8)
    page[1000:1060, 300:360] = 255 - draw_five(60, 7)
    result = preprocess(page)
    assert result.notes == ("small in its frame",)
    assert correlate(result.pixels, preprocess_digit(draw_five(100, 7))) > 0.9


def test_a_small_digit_keeps_the_notes_of_the_whole_image_each_once():
    page = np.full((900, 900), 30, np.uint8)
    page[:, :300] = 40
    page[500:650, 400:500] = np.maximum(draw_five(225, 8)[37:187, 62:162], 30)
    page[200:265, 700:765] = 255
    notes = preprocess(page).notes
    assert notes[0] == "small in its frame"
    assert "parts left out" in notes and notes.count("light on dark") == 1


@pytest.mark.parametrize(("gap", "is_stacked"), [(8, False), (20, False), (60, False), (60, True)])
@pytest.mark.parametrize("size", [90, 600])
def test_two_digits_are_several(gap, is_stacked, size):
    """Side by side from a narrow gap on; one above the other where no digit's parts are so far apart."""
    five = draw_five(90, 6)[15:75, 25:65]
    page = np.zeros((180, 180), np.uint8)
    offset_y, offset_x = (60 + gap, 0) if is_stacked else (0, 40 + gap)
    top, left = (180 - 60 - offset_y) // 2, (180 - 40 - offset_x) // 2
    page[top : top + 60, left : left + 40] = five
    page[top + offset_y : top + offset_y + 60, left + offset_x : left + offset_x + 40] = five
    page = cv2.resize(page, (size, size), interpolation=cv2.INTER_LINEAR)
    assert preprocess(255 - page).rejection == "several digits"


def test_a_long_strip_is_analysed_with_enough_pixels_to_tell_its_digits_apart():
    strip = np.concatenate([draw_five(80, 7)[:, 15:65]] * 12, axis=1)
    assert preprocess(255 - strip).rejection == "several digits"


def test_a_digit_of_a_thick_pen_does_not_hide_its_thin_neighbours_in_a_strip():
    """If a strip's whole area set the size of a speck, the nine thin digits would be specks."""
    strip = np.zeros((114, 724), np.uint8)
    for left in range(20, 650, 70):
        strip[30:90, left : left + 60] = draw_five(60, 2)
    strip[30:90, 650:710] = draw_five(60, 5)
    assert preprocess(255 - strip).rejection == "several digits"


def test_digits_here_and_there_on_a_page_are_several():
    page = np.zeros((900, 700), np.uint8)
    for top, left in ((40, 500), (250, 80), (300, 400), (600, 150), (650, 550)):
        page[top : top + 120, left : left + 120] = draw_five(120, 8)
    assert preprocess(255 - page).rejection == "several digits"


def test_the_edge_of_a_table_beside_the_sheet_is_not_a_one():
    sheet = np.full((300, 400), 200, np.uint8)
    sheet[:, :24] = 20
    assert preprocess(sheet).rejection in ("blank", "empty field")  # a table's edge or a form's line


def test_a_wide_scribble_is_no_digit():
    page = np.zeros((100, 100), np.uint8)
    page[45:60, 20:80] = 255
    assert preprocess(page).rejection == "too wide for one digit"


@pytest.mark.parametrize("level", [0, 128, 255])
def test_even_paper_is_blank(level):
    assert preprocess(np.full((50, 70), level, np.uint8)).rejection == "blank"


def test_grainy_paper_is_blank():
    grain = np.random.default_rng(0).normal(180, 4, (120, 90)).clip(0, 255).astype(np.uint8)
    assert preprocess(grain).rejection == "blank"


def test_sixteen_bits_and_floats_are_read_in_their_own_range():
    sixteen_bits = 1000 + draw_five().astype(np.uint16) * 9
    assert correlate(preprocess_digit(sixteen_bits), PLAIN_FIVE) > 0.98
    assert correlate(preprocess_digit(draw_five().astype(np.float32) / 255), PLAIN_FIVE) > 0.98


@pytest.mark.parametrize("outlier", [-9999.0, 0.0, 65535.0, np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_an_outlier_does_not_hide_the_digit(outlier, dtype):
    """A hot pixel, a marker for missing data, NaN or infinity."""
    image = (1000.0 - draw_five() * 0.5).astype(dtype)
    if dtype is np.uint16 and not 0.0 <= outlier < np.inf:
        outlier = 65535.0
    image[7, 90] = outlier
    assert correlate(preprocess_digit(image), PLAIN_FIVE) > 0.97


@pytest.mark.parametrize("dtype", [">u2", "<u2", "i2", "u4", "i8", "f2", "f4", ">f4", "f8", "g", "?"])
def test_any_dtype_and_memory_layout_is_read_and_left_unchanged(dtype):
    """Big-endian, transposed, strided, reversed and read-only arrays."""
    plain = (draw_five() > 99).astype(dtype)
    wide = np.zeros((200, 200), dtype)
    wide[::2, ::2] = plain
    for image in (plain, np.asfortranarray(plain), wide[::2, ::2], plain[::-1, ::-1][::-1, ::-1]):
        before = image.copy()
        image.flags.writeable = False
        assert correlate(preprocess_digit(image), PLAIN_FIVE) > 0.9
        assert np.array_equal(image, before)


def assert_is_valid(result):
    """Check that a result has pixels or a rejection, and each alternative pixels."""
    assert (result.pixels is None) == (result.rejection is not None)
    if result.pixels is None:
        assert (result.alternative, result.digit_size, result.needs_review) == (None, 0, False)
        return
    candidate, count = result, 0
    while candidate is not None:
        assert (candidate.pixels.shape, candidate.pixels.dtype) == ((28, 28), np.uint8)
        assert candidate.pixels.any()
        assert candidate.rejection is None
        assert candidate.digit_size > 0
        assert not candidate.needs_review or candidate.notes
        candidate, count = candidate.alternative, count + 1
    assert count == len(list_candidates(result)) <= MAX_CANDIDATES


SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=130)
IMAGES = st.one_of(
    arrays(np.uint8, SHAPES),
    arrays(np.uint16, SHAPES),
    arrays(np.float32, SHAPES, elements=st.floats(width=32)),
    arrays(np.float64, SHAPES, elements=st.floats()),
    st.builds(
        lambda shape, seed: np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8),
        SHAPES,
        st.integers(0, 1000),
    ),
)


@hypothesis.given(IMAGES)
@hypothesis.settings(max_examples=150)
def test_any_array_gives_the_same_pixels_or_rejection_each_time_and_never_an_error(image):
    result = preprocess(image)
    assert_is_valid(result)
    assert are_equal(result, preprocess(image.copy()))


DRAW_SHAPES = st.one_of(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 200), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 200)),
)
LEVELS, SHARES = st.integers(0, 255), st.floats(-0.2, 1.2)
MARKS = st.tuples(
    st.sampled_from(["line", "rule", "column", "box", "blob", "ring"]),
    *[SHARES] * 4,
    LEVELS,
    st.integers(1, 6),
)


def draw_mark(page, kind, x, y, end_x, end_y, level, thickness):
    """Draw a mark at shares of the page, which it may leave."""
    height, width = page.shape
    start, end = (round(x * width), round(y * height)), (round(end_x * width), round(end_y * height))
    if kind == "line":
        cv2.line(page, start, end, level, thickness, cv2.LINE_AA)
    elif kind == "rule":
        cv2.line(page, (0, start[1]), (width, start[1] + thickness - 3), level, thickness)
    elif kind == "column":
        cv2.line(page, (start[0], 0), (start[0] + thickness - 3, height), level, thickness)
    elif kind == "box":
        cv2.rectangle(page, start, end, level, thickness)
    else:
        axes = (abs(end[0] - start[0]), abs(end[1] - start[1]))
        cv2.ellipse(page, start, axes, 0, 0, 360, level, -1 if kind == "blob" else thickness)


@hypothesis.given(DRAW_SHAPES, LEVELS, st.lists(MARKS, max_size=7), st.integers(0, 40), st.integers(0, 99))
@hypothesis.settings(max_examples=400)
def test_any_lines_boxes_and_blobs_give_the_same_pixels_or_rejection_each_time(
    shape, paper, marks, noise, seed
):
    page = np.full(shape, paper, np.uint8)
    for mark in marks:
        draw_mark(page, *mark)
    grain = np.random.default_rng(seed).normal(0, noise, shape)
    before = np.clip(page + grain, 0, 255).astype(np.uint8)
    page = before.copy()
    result = preprocess(page)
    assert_is_valid(result)
    assert np.array_equal(page, before)
    assert are_equal(result, preprocess(before))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 900), (2, 2)])
def test_extreme_shapes_never_raise(shape):
    for seed in range(5):
        preprocess(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))
        preprocess((np.arange(shape[0] * shape[1]) % 2 * 255).astype(np.uint8).reshape(shape))
