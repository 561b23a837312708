"""A CSV as spreadsheets save it: the rows are read, and the columns that people have added."""

import codecs
import contextlib
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.errors import OutputError
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter
from digitscan.scanning.output.edited_csv import read_edited_csv

ROWS = [
    Prediction("a.png", 0, 0.98, Status.OK, ""),
    Prediction('"b"; x.png', 7, 0.5, Status.REVIEW, "between 7 and 1"),
    Prediction("=c.png", None, None, Status.NO_DIGIT, "blank"),
    Prediction("d\ne.png", None, None, Status.ERROR, "damaged: a, b"),
]


def write_own(rows=ROWS, **options):
    file = io.BytesIO()
    CsvWriter(file, CsvFormat(**options)).write(rows)
    return file.getvalue().decode("utf-8-sig")


def cells_of(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def save(path, cells, mark=b"", first_line="", **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(cells)
    path.write_bytes(mark + (first_line + text.getvalue()).encode())


def read(path, may_be_cut=False, **options):
    return read_edited_csv(path, CsvFormat(**options), may_be_cut)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_rows_are_the_same_however_a_spreadsheet_saves_them(tmp_path, delimiter, line_end, quoting, mark):
    path = tmp_path / "rows.csv"
    cells = cells_of(write_own())
    save(path, cells, mark, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    edited = read(path)
    assert [row.prediction for row in edited.rows] == ROWS
    assert [list(row.cells) for row in edited.rows] == cells[1:]
    assert edited.extra_columns == ()


def test_a_line_that_names_the_separator_is_skipped(tmp_path):
    path = tmp_path / "rows.csv"
    save(path, cells_of(write_own()), first_line="sep=;\r\n", delimiter=";")
    assert [row.prediction for row in read(path).rows] == ROWS


def test_numbers_as_spreadsheets_write_them_are_as_a_scan_writes_them_again(tmp_path):
    path = tmp_path / "rows.csv"
    header = ["path", "digit", "confidence", "status", "note"]
    save(path, [header, ["a.png", "7,0", "0,98", " OK", ""], ["b.png", "1.0", "1", "ok"]], delimiter=";")
    assert [row.cells for row in read(path).rows] == [
        ("a.png", "7", "0.9800", "ok", ""),
        ("b.png", "1", "1.0000", "ok", ""),
    ]


def test_columns_that_people_add_anywhere_are_kept_and_empty_ones_are_not(tmp_path):
    path = tmp_path / "rows.csv"
    header = ["Remark", "path", "digit", "corrected", "Confidence", "note", "status", "", "", ""]
    row = ["see, Anna", "a.png", "7", "1", "0.5", "faint", "review", "", "nameless"]
    save(path, [header, row, [], ["", "", ""]], delimiter=";")
    edited = read(path)
    assert edited.extra_columns == ("Remark", "corrected", "")
    assert [row.extra_cells for row in edited.rows] == [("see, Anna", "1", "nameless")]
    assert edited.rows[0].prediction == Prediction("a.png", 7, 0.5, Status.REVIEW, "faint")


def test_probabilities_must_be_there_if_the_scan_wrote_them(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [Prediction("a.png", 1, 0.9, Status.OK, "", (0.1,) * 10)]
    save(path, cells_of(write_own(rows, probabilities=True)), delimiter=";")
    assert read(path, probabilities=True).rows[0].prediction == rows[0]
    save(path, cells_of(write_own()), delimiter=";")
    with pytest.raises(OutputError, match="not a CSV of digitscan"):
        read(path, probabilities=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a.png", "7", "1.5", "ok", ""], "no number from 0 to 1"),
        (["a.png", "7", "98%", "ok", ""], "line 3 is damaged"),
        (["a.png", "12", "0.5", "ok", ""], "12 with confidence 0.5000 is no digit"),
        (["a.png", "7", "0.5", "fine", ""], "line 3 is damaged"),
        (["", "7", "0.5", "ok", ""], "it has no path"),
        (["a.png", "7", "0.5", "ok", "", "more"], "more cells than there are columns"),
    ],
)
def test_what_is_no_row_is_refused_with_its_line(tmp_path, row, message):
    path = tmp_path / "rows.csv"
    cells = cells_of(write_own([ROWS[0]]))
    save(path, [*cells, row, cells[1]], delimiter=";")
    with pytest.raises(OutputError, match=message):
        read(path, may_be_cut=True)


def test_a_column_that_is_missing_or_there_twice_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    cells = cells_of(write_own())
    for edited in ([row[:4] for row in cells], [[*row, row[4]] for row in cells]):
        save(path, edited)
        with pytest.raises(OutputError, match="needs one column named note"):
            read(path)


@pytest.mark.parametrize("length", range(1, 5))
def test_the_incomplete_row_of_a_killed_scan_is_left_out_after_a_spreadsheet_has_filled_it_up(
    tmp_path, length
):
    path = tmp_path / "rows.csv"
    cut = ["z.png", "7", "0.9", "revi"][:length]
    save(path, [*cells_of(write_own()), [*cut, *[""] * (5 - length)]], delimiter=";")
    assert [row.prediction for row in read(path, may_be_cut=True).rows] == ROWS
    with pytest.raises(OutputError, match="is damaged"):
        read(path)


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for content in (data, b"path;digit;confidence;status;note\n" + data):
        path.write_bytes(content)
        with contextlib.suppress(OutputError):
            assert all(row.prediction.path for row in read(path).rows)
