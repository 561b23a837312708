"""Files of pen strokes are checked, and their writers are divided for validation."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitscan.errors import DataError
from digitscan.training.data import pen_files, sources
from digitscan.training.data.pen_files import load_pen_strokes
from digitscan.training.data.pen_strokes import draw_pen_digit
from digitscan.training.data.stroke_glyphs import DIGIT_LIKE_LETTERS, WRITTEN_NON_DIGITS
from tests.support.pen_strokes import WRITER_COUNT, make_pen_arrays


@pytest.fixture
def arrays():
    return make_pen_arrays()


@pytest.fixture
def own_path(arrays, tmp_path):
    """A file of pen strokes of six writers, which the test may change."""
    return save(tmp_path / "pens.npz", arrays)


def save(path, arrays):
    np.savez(path, allow_pickle=True, **arrays)
    return path


def count_characters(strokes):
    return [sum(map(len, by_writer)) for by_writer in (*strokes.digits, strokes.non_digits)]


def test_every_writer_is_in_one_split_only(own_path):
    splits = load_pen_strokes([own_path]).splits
    assert count_characters(splits["train"]) == [WRITER_COUNT - 1] * 10 + [2 * (WRITER_COUNT - 1)]
    assert count_characters(splits["val"]) == [1] * 10 + [2]
    used = {split: set(np.concatenate([*map(np.concatenate, s.digits)])) for split, s in splits.items()}
    assert not used["train"] & used["val"]


def test_a_sixth_of_the_writers_of_each_source_is_for_validation(tmp_path):
    arrays = make_pen_arrays(writer_count=24)
    arrays["source"] = np.where(arrays["writer"] < 12, "abc", "de")
    arrays["writer"] = 7 * (arrays["writer"] % 12)  # the same numbers in both sources are other people
    splits = load_pen_strokes([save(tmp_path / "pens.npz", arrays)]).splits
    assert [len(by_writer) for by_writer in splits["val"].digits] == [4] * 10
    assert [len(by_writer) for by_writer in splits["train"].digits] == [20] * 10


def test_several_files_are_read_as_one_and_each_has_its_own_writers(tmp_path):
    arrays = make_pen_arrays(writer_count=8)
    names = ("digits.npz", "letters.npz")
    is_letter = arrays["label"] > "9"
    for name, is_in_file in zip(names, (~is_letter, is_letter), strict=True):
        save(tmp_path / name, select(arrays, is_in_file))
    data = load_pen_strokes([tmp_path / name for name in names])
    together = load_pen_strokes([save(tmp_path / "pens.npz", arrays)])
    for split in ("train", "val"):
        assert count_characters(data.splits[split]) == count_characters(together.splits[split])
    assert len(set(data.digests)) == 2
    rng, other_rng = np.random.default_rng(1), np.random.default_rng(1)
    for label in range(10):
        drawn = draw_pen_digit(data.splits["train"], label, rng)
        assert np.array_equal(drawn, draw_pen_digit(together.splits["train"], label, other_rng))


def select(arrays, is_selected):
    """The arrays with the selected characters only."""
    stroke_characters = np.repeat(np.arange(len(is_selected)), np.diff(arrays["segment_ends"], prepend=0))
    strokes = np.split(arrays["points"], arrays["stroke_ends"][:-1])
    kept = [stroke for stroke, index in zip(strokes, stroke_characters, strict=True) if is_selected[index]]
    counts = np.diff(arrays["segment_ends"], prepend=0)[is_selected]
    return {
        "points": np.concatenate(kept),
        "stroke_ends": np.cumsum([len(stroke) for stroke in kept]),
        "segment_ends": np.cumsum(counts),
        **{name: arrays[name][is_selected] for name in ("label", "source", "writer")},
    }


def replace_strokes(arrays, label, ends):
    """The arrays with a line of points between two ends in the place of every character of a label."""
    points, counts = arrays["points"].copy(), count_points(arrays)
    starts = np.cumsum(counts) - counts
    is_replaced = arrays["label"] == label
    for start, count in zip(starts[is_replaced], counts[is_replaced], strict=True):
        points[start : start + count] = np.linspace(*ends, count)
    return arrays | {"points": points}


@pytest.mark.parametrize(
    ("label", "points", "is_used"),
    [
        ("1", ((480, 0), (520, 1000)), True),
        ("1", ((0, 480), (1000, 520)), False),
        ("4", ((480, 0), (520, 1000)), False),
    ],
)
def test_a_line_is_used_only_as_an_upright_1(label, points, is_used, arrays, tmp_path):
    """Characters that lost strokes are lines in some collections."""
    path = save(tmp_path / "pens.npz", replace_strokes(arrays, label, points))
    if is_used:
        assert count_characters(load_pen_strokes([path]).splits["val"]) == [1] * 10 + [2]
    else:
        with pytest.raises(DataError, match=f"none wrote a {label}"):
            load_pen_strokes([path])


def test_a_digit_that_is_more_than_twice_as_wide_as_high_is_not_used(arrays, tmp_path):
    """Some characters are two zeros beside each other."""
    is_zero = np.repeat(arrays["label"] == "0", count_points(arrays))
    arrays["points"][is_zero] = np.rint(arrays["points"][is_zero] * (1.6, 0.45)).clip(0, 1000)
    with pytest.raises(DataError, match="none wrote a 0"):
        load_pen_strokes([save(tmp_path / "pens.npz", arrays)])


def count_points(arrays):
    """The number of points of each character."""
    return np.diff(arrays["stroke_ends"][arrays["segment_ends"] - 1], prepend=0)


def test_letters_that_may_look_like_a_digit_are_never_negatives():
    assert not DIGIT_LIKE_LETTERS & WRITTEN_NON_DIGITS
    assert not WRITTEN_NON_DIGITS & set("0123456789|/()'DGJQUYagijnruy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((4, 2))}, r"points are float64 \(4, 2\), expected integers \(P, 2\), P > 0"),
        ({"points": np.zeros((4, 3), np.int16)}, r"points are int16 \(4, 3\)"),
        ({"points": np.zeros((0, 2), np.int16)}, r"points are int16 \(0, 2\)"),
        ({"points": np.full((4, 2), 1001)}, "points range from 1001 to 1001, expected 0 to 1000"),
        ({"points": np.full((4, 2), -1)}, "points range from -1 to -1"),
        ({"points": np.full((4, 2), 2**64 - 1, np.uint64)}, "points range from 1844"),
        ({"stroke_ends": np.zeros(0, np.int32)}, r"stroke_ends is int32 \(0,\), expected integers \(N,\)"),
        ({"stroke_ends": np.array([0.5])}, "stroke_ends is float64"),
        ({"stroke_ends": np.zeros((2, 2), np.int32)}, r"stroke_ends is int32 \(2, 2\)"),
        ({"segment_ends": np.array([1, 2])}, "segment_ends does not rise to the number of strokes, which is"),
        ({"label": np.array(["1"])}, r"label is <U1 \(1,\), expected texts"),
        ({"label": np.zeros(78)}, "label is float64"),
        ({"label": np.array(["12"] * 78)}, "a label is not a single character"),
        ({"label": np.array([""] * 78)}, "a label is not a single character"),
        ({"writer": np.zeros(78)}, "writer is float64"),
        ({"writer": np.zeros((78, 1), np.int16)}, "writer is int16"),
        ({"source": np.zeros(78, np.int16)}, "source is int16"),
        ({"source": np.array([object()] * 78)}, "is damaged or contains something other than arrays"),
        (
            {"label": np.array(["1"] * 78)},
            "of the writers kept for training, none wrote a 0: give files with",
        ),
        ({"writer": np.zeros(78, np.int16)}, "of the writers kept for validation, none wrote a 0"),
    ],
)
def test_arrays_of_a_wrong_type_shape_or_value_are_refused_with_their_name(change, message, arrays, tmp_path):
    path = save(tmp_path / "pens.npz", arrays | change)
    with pytest.raises(DataError, match=rf"pens\.npz.*{message}"):
        load_pen_strokes([path])


@pytest.mark.parametrize("name", ["stroke_ends", "segment_ends"])
@pytest.mark.parametrize("damage", ["negative", "zero", "falling", "equal", "too far", "too short", "huge"])
def test_ends_that_lie_are_refused(name, damage, arrays, tmp_path):
    ends = arrays[name].astype(np.uint64 if damage == "huge" else np.int64)
    last = ends[-1]
    if damage == "huge":
        ends[3] = 2**64 - 1
    elif damage in ("negative", "zero"):
        ends[0] = -5 if damage == "negative" else 0
    elif damage == "too short":
        ends = ends[:-1]
    else:
        ends[3 if damage in ("falling", "equal") else -1] = {
            "falling": ends[1],
            "equal": ends[2],
            "too far": last + 1,
        }[damage]
    path = save(tmp_path / "pens.npz", arrays | {name: ends})
    with pytest.raises(DataError, match=rf"pens\.npz: ({name} does not rise|label is .* expected one)"):
        load_pen_strokes([path])


def test_labels_that_are_no_characters_at_all_are_passed_over(arrays, tmp_path):
    """NumPy keeps any 32 bits as a character."""
    is_letter = arrays["label"] > "9"
    arrays["label"].view(np.uint32)[is_letter] = 0xFFFFFFFF
    splits = load_pen_strokes([save(tmp_path / "pens.npz", arrays)]).splits
    assert splits["train"].non_digits == ()


def test_a_character_of_too_many_points_is_refused(own_path, monkeypatch):
    monkeypatch.setattr(pen_files, "MAX_CHARACTER_POINTS", 5)
    with pytest.raises(DataError, match=r"pens\.npz: a character has \d+ points, more than the limit of 5"):
        load_pen_strokes([own_path])


def test_a_file_that_unpacks_to_too_much_is_refused(own_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match="more than the limit of 1000"):
        load_pen_strokes([own_path])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "missing.npz",
            "missing.npz is not a file: expected an .npz file of pen strokes as docs/training.md",
        ),
        (".", "is not a file: expected"),
        ("text.npz", "text.npz is not an .npz file: expected"),
        ("mnist.npz", "mnist.npz contains x_train, but not points, stroke_ends, segment_ends, label, source"),
    ],
)
def test_other_files_are_refused_with_what_was_expected(name, message, tmp_path):
    (tmp_path / "text.npz").write_text("strokes")
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros(3))
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        load_pen_strokes([tmp_path / name])


def test_a_truncated_file_is_refused(own_path):
    data = own_path.read_bytes()
    for length in range(0, len(data), len(data) // 7):
        own_path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"pens\.npz is"):
            load_pen_strokes([own_path])


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i2', 'fortran_order': False, 'shape': (9000000000000, 2)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (-1, 2)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 2)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': " + "(" * 2000 + ")" * 2000 + "}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3L, '''",
        "print('hello')",
    ],
    ids=["huge", "negative", "objects", "nested", "no Python", "code"],
)
def test_a_forged_header_is_refused(header, own_path):
    """A header is text in Python's syntax. It may declare more than the file has."""
    text = header.encode() + b"\n"
    with zipfile.ZipFile(own_path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["points.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(12)
    with zipfile.ZipFile(own_path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match=r"pens\.npz is damaged or contains something other than arrays"):
        load_pen_strokes([own_path])


@settings(max_examples=150)
@given(data=st.data())
def test_a_changed_byte_gives_an_error_of_one_sentence_or_strokes_that_can_be_drawn(data, tmp_path_factory):
    buffer = io.BytesIO()
    np.savez(buffer, **make_pen_arrays(copies=1))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "pens.npz"
    path.write_bytes(content)
    try:
        splits = load_pen_strokes([path]).splits
    except DataError:
        return
    assert draw_pen_digit(splits["val"], 3, np.random.default_rng(0)).any()
