"""A CSV of numbers: written, read back, cut by a killed scan, and saved by a spreadsheet."""

import csv
import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.csv_cells import note_whole_number, restore_number
from digitscan.errors import OutputError
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvFormat, CsvReader, CsvWriter
from digitscan.scanning.output.edited_csv import read_edited_csv

HEADER = b"path,number,confidence,status,note\n"
NUMBERS = CsvFormat(numbers=True)
WITH_CONFIDENCES = CsvFormat(numbers=True, digit_confidence=True)


def number(text, path="a.png", note="", confidences=None):
    notes = "; ".join(filter(None, (note, *note_whole_number(text))))
    return Prediction(path, None, 0.98, Status.OK, notes, number=text, digit_confidences=confidences)


ROWS = [
    number("407", "a.png", confidences=(0.99, 0.5, 1.0)),
    number("007", "b, c.png", "faint", (0.9, 0.9, 0.25)),
    Prediction("c.png", None, None, Status.NO_DIGIT, "blank"),
    number("7", "d\ne.png", confidences=(0.98,)),
    number("00", "e.png", "with a point", (0.5, 0.5)),
    Prediction("f.png", None, None, Status.ERROR, "empty file"),
]
WITHOUT_CONFIDENCES = [dataclasses.replace(row, digit_confidences=None) for row in ROWS]


def write(rows, csv_format):
    file = io.BytesIO()
    CsvWriter(file, csv_format).write(rows)
    return file.getvalue()


def test_the_cells_of_a_number_are_text_with_all_zeros_and_its_confidences(tmp_path):
    assert write([number("007")], NUMBERS) == HEADER + b"a.png,007,0.9800,ok,in full: 007\n"
    row = number("12", confidences=(0.25, 1.0))
    expected = HEADER[:-1] + b",digit_confidence\na.png,12,0.9800,ok,,0.2500 1.0000\n"
    assert write([row], WITH_CONFIDENCES) == expected


@pytest.mark.parametrize(
    ("csv_format", "rows"), [(NUMBERS, WITHOUT_CONFIDENCES), (WITH_CONFIDENCES, ROWS)], ids=str
)
def test_a_csv_of_numbers_that_a_killed_scan_cut_anywhere_holds_its_whole_rows(tmp_path, csv_format, rows):
    path = tmp_path / "rows.csv"
    whole = write(rows, csv_format)
    lengths = [len(write(rows[:count], csv_format)) for count in range(len(rows) + 1)]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        reader = CsvReader(path, written_bytes=0)
        boundary = max((length for length in lengths if length <= cut), default=0)
        assert list(reader) == rows[: lengths.index(boundary) if boundary else 0], cut
        assert (reader.whole_bytes, reader.incomplete_bytes) == (boundary, cut - boundary)


@given(st.from_regex(r"\A[0-9]{1,20}\Z"), st.sampled_from(["", "doubtful", "faint; with a point"]))
def test_a_number_that_a_spreadsheet_made_a_value_of_is_whole_again(text, note):
    row = number(text, note=note)
    for cell in (text, str(int(text)), f"{int(text)}.0", f" {int(text)},0"):
        assert restore_number(cell, row.note) == text
    assert restore_number(str(int(text) + 1), row.note) == str(int(text) + 1)  # what a person has corrected


@given(st.text(max_size=8), st.text(max_size=30))
def test_any_cell_and_note_can_be_looked_at(cell, note):
    assert isinstance(restore_number(cell, note), str)


def test_zeros_that_only_an_older_reading_had_are_not_added():
    assert restore_number("7", "doubtful; before: 007, ok, faint; in full: 007") == "7"


def save_as_spreadsheet(path, csv_format, rows, delimiter):
    """Save as a program that takes a cell with a number for a value, and writes it in its own way."""
    cells = list(csv.reader(io.StringIO(write(rows, csv_format).decode(), newline="")))
    for row in cells[1:]:
        row[1] = row[1] and str(int(row[1]))
        row[2] = row[2] and f"{float(row[2]):g}"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(cells)
    path.write_text(text.getvalue())


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize(
    ("csv_format", "rows"), [(NUMBERS, WITHOUT_CONFIDENCES), (WITH_CONFIDENCES, ROWS)], ids=str
)
def test_leading_zeros_that_a_spreadsheet_took_away_are_there_again(tmp_path, csv_format, rows, delimiter):
    path = tmp_path / "rows.csv"
    save_as_spreadsheet(path, csv_format, rows, delimiter)
    edited = read_edited_csv(path, csv_format, may_be_cut=False)
    assert [row.prediction for row in edited.rows] == rows
    assert [row.cells[1] for row in edited.rows] == [row.number or "" for row in rows]
    if delimiter == ",":
        assert list(CsvReader(path)) == rows


@pytest.mark.parametrize("cell", ["1.23457E+15", "12a", "-7", "1.5", "\u0663"])
def test_a_cell_that_is_no_number_of_digits_is_refused_with_its_line(tmp_path, cell):
    path = tmp_path / "rows.csv"
    path.write_text(f"path,number,confidence,status,note\na.png,{cell},0.9,ok,\n")
    for read in (lambda: list(CsvReader(path)), lambda: read_edited_csv(path, NUMBERS, may_be_cut=False)):
        with pytest.raises(OutputError, match=r"line 2 is damaged: .* is no number of digits 0-9"):
            read()


def test_columns_that_people_add_to_numbers_are_kept(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("path,number,confidence,status,note,corrected\na.png,40,0.9,ok,,41\n")
    reader = CsvReader(path)
    (row,) = reader.rows()
    assert reader.extra_columns == ("corrected",) and row.extra_cells == ("41",)
    assert row.prediction.number == "40" and row.prediction.digit is None
