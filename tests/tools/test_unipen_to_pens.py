"""The UNIPEN collection becomes pen strokes that training reads."""

import sys
from collections import Counter

import numpy as np
import pytest

from digitscan.training.data.pen_files import load_pen_strokes
from tests.support.command import run_shell
from tests.support.pen_strokes import LETTERS, find_skeleton, make_pen_arrays, write_unipen
from tools.unipen_to_pens import (
    Segment,
    drop_pieces,
    extract_strokes,
    main,
    normalize_strokes,
    parse_lines,
)


def convert(folder, output, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["unipen_to_pens", str(folder), str(output), *options])
    main()
    with np.load(output, allow_pickle=False) as file:
        return dict(file)


def test_a_distribution_becomes_the_strokes_that_were_written(tmp_path, monkeypatch, capsys):
    write_unipen(tmp_path / "unipen")
    arrays = convert(tmp_path / "unipen", tmp_path / "pens.npz", monkeypatch)
    for name, expected in make_pen_arrays().items():
        if name not in ("points", "stroke_ends"):
            assert np.array_equal(arrays[name], expected)
    first = find_skeleton("0", 0)[0]
    repeated = (np.diff(first, axis=0) == 0).all(axis=1)
    assert arrays["points"][: arrays["stroke_ends"][0]].tolist() == [
        first[0].tolist(),
        *first[1:][~repeated].tolist(),
    ]
    characters = 6 * (10 + len(LETTERS))
    assert f"{characters} characters of 6 writers" in capsys.readouterr().out
    assert load_pen_strokes([tmp_path / "pens.npz"]).splits["val"].non_digits


def test_the_command_says_what_is_missing(tmp_path):
    done = run_shell("python -m tools.unipen_to_pens . pens.npz", cwd=tmp_path)
    assert done.returncode == 1
    assert b". holds no characters: it needs files such as data/1a/ibm/NAME.dat" in done.stderr


@pytest.mark.parametrize("source", ["tos", "lou"])
def test_sources_whose_numbers_do_not_fit_are_left_out(source, tmp_path, monkeypatch):
    write_unipen(tmp_path)
    write_unipen(tmp_path, source)
    arrays = convert(tmp_path, tmp_path / "pens.npz", monkeypatch)
    assert set(arrays["source"].tolist()) == {"abc"}


def test_only_the_named_categories_are_read(tmp_path, monkeypatch):
    write_unipen(tmp_path)
    with pytest.raises(SystemExit, match="holds no characters"):
        convert(tmp_path, tmp_path / "pens.npz", monkeypatch, "--categories", "1b")


LINES = """
.COORD Y X
.PEN_DOWN
1 2
3 4
.DT 10
5 6
.PEN_UP
7 8
.PEN_DOWN
damaged
9 10
.COMMENT
11 12
.SEGMENT CHARACTER 0-1 OK "7"
.SEGMENT WORD 0-1 OK "7 up"
.SEGMENT CHARACTER 0 BAD "ab"
"""


def test_lines_are_read_as_components_and_segments():
    """Columns are in the order that .COORD says. Only .DT may stand between the points of a component."""
    file = parse_lines(LINES.splitlines())
    assert file.components == [[(2, 1), (4, 3), (6, 5)], [(10, 9)]]
    assert file.segments == [Segment("0-1", "OK", "7")]


def test_some_sources_count_the_pen_above_the_paper():
    file = parse_lines(LINES.splitlines(), counts_pen_ups=True)
    assert file.components == [[(2, 1), (4, 3), (6, 5)], [], [(10, 9)]]


@pytest.mark.parametrize(
    ("delineation", "expected"),
    [
        ("1", [[3, 4, 5]]),
        ("0-1", [[0, 1, 2], [3, 4, 5]]),
        ("0, 2", [[0, 1, 2], [6]]),
        ("0:1-1:0", [[1, 2], [3]]),
        ("1:1-1:1", [[4]]),
        ("1-3", [[3, 4, 5], [6]]),
    ],
)
def test_a_delineation_names_components_and_points(delineation, expected):
    components = [[(0, 0), (1, 0), (2, 0)], [(3, 0), (4, 0), (5, 0)], [(6, 0)], []]
    strokes = extract_strokes(components, delineation)
    assert [stroke[:, 0].tolist() for stroke in strokes] == expected


@pytest.mark.parametrize("delineation", ["", "x", "1", "0-1", "-1", "0:x"])
def test_a_delineation_of_what_is_not_there_is_an_error(delineation):
    with pytest.raises((ValueError, IndexError)):
        extract_strokes([[(0, 0)]], delineation)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3.0])
def test_a_dot_or_a_point_of_no_number_gives_no_strokes(value):
    assert normalize_strokes([np.array([(3.0, value), (3.0, 3.0)])]) == []


def test_components_side_by_side_with_the_same_label_are_pieces():
    segments = [
        Segment(where, "?", label) for where, label in [("3", "4"), ("4", "4"), ("5", "1"), ("7", "1")]
    ]
    dropped = Counter()
    assert drop_pieces(segments, dropped) == segments[2:]
    assert dropped == {"pieces of characters": 2}
