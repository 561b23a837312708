"""Reading a CSV back: edited, cut by a killed scan, or damaged. No row is skipped without a word."""

import csv
import io

import pytest

from digitscan.errors import OutputError
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvFormat, CsvReader, CsvWriter

NAMES = ["a.png", "new\nline.png", 'quo"te\n"b".png', "ö, ☃.png", "=1+1;\n-2.png", "z.png"]
ROWS = [
    Prediction(name, None, None, Status.ERROR, "empty; really") if index % 2 else prediction
    for index, name in enumerate(NAMES)
    for prediction in [Prediction(name, index, 0.5, Status.OK)]
]


def write_rows(rows=ROWS, **options):
    file = io.BytesIO()
    CsvWriter(file, CsvFormat(**options)).write(rows)
    return file.getvalue()


WHOLE = write_rows()
LINES = WHOLE.count(b"\n")


def read(tmp_path, data, written_bytes=None):
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    reader = CsvReader(path, written_bytes=written_bytes)
    return list(reader), reader


@pytest.mark.parametrize("options", [{}, {"excel": True}, {"probabilities": True}])
def test_a_csv_that_a_killed_scan_cut_anywhere_holds_its_whole_rows(tmp_path, options):
    lengths = [len(write_rows(ROWS[:count], **options)) for count in range(len(ROWS) + 1)]
    whole = write_rows(**options)
    for cut in range(len(whole) + 1):
        rows, reader = read(tmp_path, whole[:cut], written_bytes=0)
        boundary = max((length for length in lengths if length <= cut), default=0)
        assert rows == ROWS[: lengths.index(boundary) if boundary else 0], cut
        assert (reader.whole_bytes, reader.incomplete_bytes) == (boundary, cut - boundary)


@pytest.mark.parametrize("written_bytes", [None, len(WHOLE)])
def test_a_csv_that_no_scan_has_cut_is_refused_or_keeps_its_last_row(tmp_path, written_bytes):
    for cut in range(1, len(WHOLE)):
        try:
            rows, reader = read(tmp_path, WHOLE[:cut], written_bytes)
        except OutputError:
            continue
        assert reader.whole_bytes == cut and reader.incomplete_bytes == 0
        assert reader.lacks_newline == (WHOLE[cut - 1 : cut] != b"\n")
        assert [row.path for row in rows] == NAMES[: len(rows)]


@pytest.mark.parametrize("written_bytes", [0, 60, None])
def test_no_row_is_lost_below_a_stray_quote(tmp_path, written_bytes):
    rows = [Prediction(f"{index}.png", 1, 0.5, Status.OK, "faint") for index in range(5)]
    lines = write_rows(rows).decode().splitlines(keepends=True)
    for line_index in range(1, 6):
        for cell_index in (0, 4):
            cells = lines[line_index].split(",")
            cells[cell_index] = '"' + cells[cell_index]
            edited = "".join([*lines[:line_index], ",".join(cells), *lines[line_index + 1 :]])
            with pytest.raises(OutputError, match=r"line \d+ is damaged"):
                read(tmp_path, edited.encode(), written_bytes)


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_line_ends_and_quotes_of_other_programs_are_read(tmp_path, line_end):
    rows = [row for row in ROWS if "\n" not in row.path]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        file = io.StringIO(newline="")
        cells = csv.reader(io.StringIO(write_rows(rows).decode(), newline=""))
        csv.writer(file, lineterminator=line_end, quoting=quoting).writerows(cells)
        for mark in ("", "\ufeff"):
            assert read(tmp_path, (mark + file.getvalue()).encode())[0] == rows


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path):
    for data, line in ((WHOLE.decode().encode("utf-16"), 1), (WHOLE + b"\xe9.png,1,0.5,ok,\n", LINES + 1)):
        with pytest.raises(OutputError, match=f"line {line} is damaged: it is not UTF-8 text"):
            read(tmp_path, data, written_bytes=0)


@pytest.mark.parametrize(
    "added",
    [
        "Notes of Anna:\n100 is surely a 7\n101 was checked",
        "TOTAL,40,0.97",
        "a.png,7,0.9,checked",
        "a.png,7,0.9,checked,\nb.png,7,0.9,checked,",
        '"My list\n138.png,7\n139.png,7\n',
        "n\0o\0t\0e\0",
    ],
)
def test_what_people_add_below_the_rows_is_no_incomplete_row(tmp_path, added):
    with pytest.raises(OutputError, match=r"line \d+ is damaged"):
        read(tmp_path, WHOLE + added.encode(), written_bytes=len(WHOLE))


def test_a_nul_byte_is_refused(tmp_path):
    with pytest.raises(OutputError, match=f"line {LINES + 1} is damaged: it holds a NUL byte"):
        read(tmp_path, WHOLE + b"a\0b.png,,,error,no permission\n", written_bytes=0)


def test_a_tail_of_nul_bytes_as_power_losses_leave_it_is_an_incomplete_row(tmp_path):
    rows, reader = read(tmp_path, WHOLE + b"\0" * 500, written_bytes=len(WHOLE))
    assert rows == ROWS and reader.incomplete_bytes == 500
