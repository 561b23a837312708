"""The CSV: what is written is harmless in a spreadsheet and comes back exactly."""

import csv
import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.errors import OutputError
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import (
    COLUMNS,
    CsvFormat,
    CsvReader,
    CsvWriter,
    escape_formula,
    unescape_formula,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def written(rows, **options):
    file = io.BytesIO()
    CsvWriter(file, CsvFormat(**options)).write(rows)
    return file.getvalue()


CRAFTED_TEXT = st.text(st.sampled_from(",;|\t\r\n'\" =-\uff1da"))


@given(TEXT | CRAFTED_TEXT)
def test_every_text_comes_back_from_its_cell(text):
    assert unescape_formula(escape_formula(text)) == text


@given(CRAFTED_TEXT)
def test_no_part_of_a_cell_is_a_formula_wherever_a_spreadsheet_splits_it(text):
    for part in re.split(r"[,;|\t\r\n]", escape_formula(text)):
        assert not part.strip(' "').startswith(("=", "-", "\uff1d"))


@given(CRAFTED_TEXT)
def test_text_with_a_separator_or_a_quote_is_quoted(text):
    (cell,) = re.findall(r"\n(.*),7,0\.5000,ok,\n\Z", written([prediction(text)]).decode(), re.DOTALL)
    assert cell.startswith('"') == (re.search(r'[,;|\t\r\n"]', text) is not None)


def prediction(path, note=""):
    return Prediction(path, 7, 0.5, Status.OK, note)


@given(st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", " =", '"=', "' +", "\uff1d", "\u00a0-"]), TEXT)
def test_a_cell_never_starts_as_a_formula_does(start, text):
    assert escape_formula(start + text).startswith("'")


def test_ordinary_names_stay_as_they_are():
    names = ("3/a.png", "Foto 1 (2).jpg", "señal_٣.png", "a=b.png", "sub-folder/-x.png", "O'-b.png", "a - b")
    for name in (*names, "it;'s.png", "inverted; name is not UTF-8"):
        assert escape_formula(name) == name


def test_control_characters_are_escaped_for_a_terminal_only():
    file, rows = io.BytesIO(), [prediction("\x1b[2J;\n.png", "\x1b]0;title\a")]
    CsvWriter(file, for_terminal=True).write(rows)
    assert file.getvalue().splitlines()[1] == rb'"\x1b[2J;\n.png",7,0.5000,ok,"\x1b]0;title\x07"'
    assert parsed(written(rows)) == rows


@given(st.lists(st.tuples(TEXT, TEXT, st.integers(0, 9), st.integers(0, 10000)), max_size=5))
def test_rows_come_back_exactly_as_they_were(cases):
    rows = [Prediction(name, digit, c / 10000, Status.OK, note) for name, note, digit, c in cases]
    assert parsed(written(rows)) == rows


def parsed(data):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(data)
        return list(CsvReader(path))


def test_probabilities_are_ten_columns_and_empty_where_the_network_was_not_asked():
    ten = tuple(d / 100 for d in range(10))
    rows = [
        Prediction("a.png", 1, 0.5, Status.OK, "", ten),
        Prediction("b.png", None, None, Status.ERROR, "empty file"),
    ]
    lines = written(rows, probabilities=True).decode().splitlines()
    assert lines[0] == "path,digit,confidence,status,note,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9"
    assert lines[2] == "b.png,,,error,empty file" + "," * 10
    assert parsed(written(rows, probabilities=True)) == rows


def test_any_csv_reader_sees_the_same_cells():
    name = 'a "quoted", name\nin two lines.png'
    data = written([Prediction(name, 3, 0.98765, Status.REVIEW, "doubtful; inverted")])
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert rows == [list(COLUMNS), [name, "3", "0.9877", "review", "doubtful; inverted"]]


class FullDisk(io.FileIO):
    """A file on a disk with room for 95 bytes more."""

    room = 95
    error = OSError(28, "No space left on device")

    def write(self, data):
        """Take what there is room for."""
        if not self.room:
            raise self.error
        taken = super().write(bytes(data)[: self.room])
        self.room -= taken
        return taken


def test_a_full_disk_leaves_whole_rows(tmp_path):
    path = tmp_path / "rows.csv"
    row = Prediction("name.png", 5, 0.5, Status.OK)
    with FullDisk(path, "wb") as file:
        writer = CsvWriter(file)
        writer.write([row])
        writer.write([row])
        with pytest.raises(OSError, match="No space"):
            writer.write([row])
    assert list(CsvReader(path)) == [row] * 2


def test_ctrl_c_between_two_parts_of_a_row_leaves_whole_rows(tmp_path):
    path = tmp_path / "rows.csv"
    with FullDisk(path, "wb") as file:
        file.error = KeyboardInterrupt()
        writer = CsvWriter(file)
        writer.write([prediction("a.png")])
        with pytest.raises(KeyboardInterrupt):
            writer.write([prediction("b.png")] * 9)
        assert file.tell() == path.stat().st_size
    assert [row.path for row in CsvReader(path)] == ["a.png"]


def test_a_full_disk_removes_nothing_that_was_in_the_file_before(tmp_path):
    """As a shell appends with `>>`: nobody has said where the file's end is."""
    path = tmp_path / "rows.csv"
    path.write_text("what stood there\n")
    row = Prediction("name.png", 5, 0.5, Status.OK)
    with FullDisk(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
        writer = CsvWriter(file, header=False)
        with pytest.raises(OSError, match="No space"):
            writer.write([row] * 9)
    assert path.read_text() == "what stood there\n"


@pytest.mark.parametrize("damage", [b"a.png,3,0.5\n", b"a.png,x,0.5,ok,\n", b"a.png,3,0.5,fine,\n", b'"a'])
def test_a_damaged_row_is_named_by_its_line(tmp_path, damage):
    path = tmp_path / "rows.csv"
    path.write_bytes(written([Prediction("a.png", 1, 0.5, Status.OK)]) + damage)
    with pytest.raises(OutputError, match="line 3"):
        list(CsvReader(path))


def test_a_csv_of_another_program_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("name,value\n")
    with pytest.raises(OutputError, match="not a CSV of digitscan"):
        list(CsvReader(path))


def test_raw_cells_are_the_names_themselves_and_come_back(tmp_path):
    rows = [Prediction(name, None, None, Status.ERROR, "empty file") for name in ("=1+1", "'a", "b")]
    data = written(rows, raw=True)
    assert data.splitlines()[1:] == [
        b"=1+1,,,error,empty file",
        b"'a,,,error,empty file",
        b"b,,,error,empty file",
    ]
    (tmp_path / "raw.csv").write_bytes(data)
    assert list(CsvReader(tmp_path / "raw.csv", raw=True)) == rows


def test_the_mark_for_excel_is_written_once_and_ignored_by_our_reader():
    rows = [Prediction("Größe.png", 1, 0.5, Status.OK)]
    data = written(rows, excel=True)
    assert data.startswith(b"\xef\xbb\xbfpath,") and data.count(b"\xef\xbb\xbf") == 1
    assert parsed(data) == rows
