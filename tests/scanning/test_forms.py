"""Scans of the fields of forms, from end to end with the bundled model: print is no digit."""

import pytest
from PIL import Image

from digitscan.prediction import Status
from digitscan.scanning.output.csv_format import CsvReader
from tests.imaging.drawing import (
    draw_box,
    draw_dashed_box,
    draw_line,
    draw_rounded_box,
    draw_strokes,
    make_paper,
    write,
)
from tests.support.command import run

FIELDS = {
    "square": draw_box,
    "turned": lambda page: draw_box(page, tilt=2.0),
    "rounded": draw_rounded_box,
    "dashed": draw_dashed_box,
    "table": lambda page: draw_line(draw_line(page, (0, 92), (99, 91), 2), (7, 0), (8, 99), 2),
}
DIGITS = ["2", "4", "5", "7"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of a scan of each digit in each field, and of each field alone, by name."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "images").mkdir()
    pages = {"empty": make_paper(100)}
    pages |= {digit: write(make_paper(100), draw_strokes(digit, 55)) for digit in DIGITS}
    for name, page in pages.items():
        for field, draw in FIELDS.items():
            Image.fromarray(draw(page)).save(folder / "images" / f"{name} {field}.png")
    done = run("scan", "images", "-o", "rows.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    return {row.path: row for row in CsvReader(folder / "rows.csv")}


@pytest.mark.parametrize("field", FIELDS)
def test_digits_in_fields_are_read_and_the_print_is_named(rows, field):
    for digit in DIGITS:
        row = rows[f"{digit} {field}.png"]
        assert row.digit == int(digit), row
        assert "removed" in row.note, row


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_in_which_nothing_is_written_has_no_digit(rows, field):
    row = rows[f"empty {field}.png"]
    assert (row.digit, row.status) == (None, Status.NO_DIGIT)
    assert "empty field" in row.note.split("; ")
