r"""The CSV file format: predictions written as whole rows, and read back exactly.

RFC 4180 in UTF-8, but a row ends with `\n` alone: every spreadsheet and CSV reader accepts that, and in a
pipe `cut`, `awk` and `grep` find no stray carriage return in the last column. Text that a spreadsheet would
run as a formula is made harmless, see `csv_cells`.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from digitscan.csv_cells import (
    DIGIT_COLUMN,
    NUMBER_COLUMN,
    SEPARATOR,
    STARTS_FORMULA,
    escape_formula,
    has_numbers,
    restore_number,
    unescape_formula,
)
from digitscan.errors import ImageError, OutputError
from digitscan.prediction import Prediction, Status, is_number
from digitscan.scanning.output.incomplete_row import is_beginning_of_row
from digitscan.system.files import open_regular_file
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("path", DIGIT_COLUMN, "confidence", "status", "note")
PROBABILITY_COLUMNS = tuple(f"p{digit}" for digit in range(10))
NUMBER_COLUMNS = ("path", NUMBER_COLUMN, "confidence", "status", "note")
DIGIT_CONFIDENCE_COLUMN = "digit_confidence"

_NEEDS_QUOTES = re.compile(rf'{SEPARATOR}|"')
_HEADERS = (
    COLUMNS + PROBABILITY_COLUMNS,
    COLUMNS,
    (*NUMBER_COLUMNS, DIGIT_CONFIDENCE_COLUMN),
    NUMBER_COLUMNS,
)
"""What a scan writes into the first line, the longest first."""
_LINE_ENDS = ("\n", "\r")
_MAX_ROW_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class CsvFormat:
    """The options of the CSV."""

    probabilities: bool = False
    """Whether there are the columns p0 to p9."""
    raw: bool = False
    """Whether text has no guard against formulas."""
    excel: bool = False
    """Whether the file begins with the mark by which Excel recognizes UTF-8."""
    numbers: bool = False
    """Whether whole numbers were read, not single digits."""
    digit_confidence: bool = False
    """Whether there is a column with the confidence of each digit of a number."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        if self.numbers:
            return (*NUMBER_COLUMNS, DIGIT_CONFIDENCE_COLUMN) if self.digit_confidence else NUMBER_COLUMNS
        return COLUMNS + PROBABILITY_COLUMNS if self.probabilities else COLUMNS


class CsvRow(NamedTuple):
    """A row as it is in a file: what a scan has read, and what people have added."""

    prediction: Prediction
    cells: tuple[str, ...] = ()
    """The cells of the scan's columns as they are in the file; none for a row that is in no file yet."""
    extra_cells: tuple[str, ...] = ()
    """Those of the columns that people have added."""


class CsvWriter:
    """Write predictions as CSV to a binary file; after each call the file holds whole rows, flushed.

    Where the file can be truncated, a row that the disk has no space for is removed again, so that a full
    disk leaves no half row.
    """

    def __init__(
        self,
        file: IO[bytes],
        csv_format: CsvFormat | None = None,
        header: bool = True,
        for_terminal: bool = False,
        extra_columns: Sequence[str] = (),
    ) -> None:
        """Write the header, unless `header` is false. Raises OSError if the file cannot be written.

        `for_terminal` writes control characters as escapes, which a terminal does not obey. `extra_columns`
        are those that people have added, which are empty in the rows of new predictions.
        """
        self._file = file
        self._format = csv_format or CsvFormat()
        self._is_for_terminal = for_terminal
        self._no_extra_cells = [""] * len(extra_columns)
        if header:
            mark = codecs.BOM_UTF8 if self._format.excel else b""
            self._append([[*self._format.columns, *map(_quote, extra_columns)]], mark)

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Append the rows and flush them. Raises OSError, with no half row left in a regular file."""
        self._append(map(self._cells, predictions))

    def write_rows(self, rows: Iterable[CsvRow]) -> None:
        """Append rows, those of a file with the same cells as there. Raises OSError as `write` does."""
        self._append(map(self._row_cells, rows))

    def _row_cells(self, row: CsvRow) -> Sequence[str]:
        if not row.cells:
            cells = self._cells(row.prediction)
            return [*cells[: len(self._format.columns)], *map(_quote, row.extra_cells)]
        return [_quote(cell) for cell in (*row.cells, *row.extra_cells)]

    def _cells(self, row: Prediction) -> Sequence[str]:
        value = row.number if self._format.numbers else row.digit
        cells = [
            self._text_cell(row.path),
            "" if value is None else str(value),
            "" if row.confidence is None else f"{row.confidence:.4f}",
            row.status,
            self._text_cell(row.note) if row.note else "",
        ]
        if self._format.probabilities:
            cells += [f"{p:.4f}" for p in row.probabilities] if row.probabilities else [""] * 10
        if self._format.digit_confidence:
            cells.append(" ".join([f"{confidence:.4f}" for confidence in row.digit_confidences or ()]))
        return cells + self._no_extra_cells if self._no_extra_cells else cells

    def _text_cell(self, text: str) -> str:
        if self._is_for_terminal:
            text = escape_control_characters(text)
        if not _NEEDS_QUOTES.search(text):  # most names: this is quicker than `escape_formula`
            return text if self._format.raw or not STARTS_FORMULA.match(text) else f"'{text}"
        return _quote(text if self._format.raw else escape_formula(text))

    def _append(self, rows: Iterable[Sequence[str]], mark: bytes = b"") -> None:
        data = memoryview(mark + "".join([",".join(cells) + "\n" for cells in rows]).encode())
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
            self._file.flush()
        except BaseException:  # also by Ctrl-C
            # Counted back from the end: in a file opened for appending (`>>`) the start of this write is
            # unknown.
            if written and self._file.seekable():
                with contextlib.suppress(OSError):
                    self._file.seek(self._file.truncate(self._file.tell() - written))
            raise


def _quote(cell: str) -> str:
    """Return a cell as it is written: in quotes if it holds what some program takes for a separator."""
    # Not with csv.writer, which leaves a lone carriage return without quotes.
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


class CsvReader:
    """The predictions of a CSV that CsvWriter wrote, and that a person may have edited since.

    Behind the columns of a scan there may be others, which people have added. Nothing but an incomplete last
    row that a killed scan left is skipped; whatever else is no row raises an error. Where a file ends in the
    middle of a row, its length tells who did that: `written_bytes` is a length up to which a scan that has
    not ended properly has written whole rows, so that its incomplete row can only begin there or later.
    """

    def __init__(self, path: Path, raw: bool = False, written_bytes: int | None = None) -> None:
        """Take a CSV. `written_bytes` is None if no scan can have left an incomplete row."""
        self.whole_bytes = 0
        """The length of the rows that were read; once all are, of all whole rows."""
        self.incomplete_bytes = 0
        """The length of an incomplete last row that a scan left behind the whole ones. Known as above."""
        self.extra_columns: tuple[str, ...] = ()
        """The columns that people have added. Known once the first line is read."""
        self.lacks_newline = False
        """Whether the last row is whole but for its line end, as some editors leave it. Known as above."""
        self._has_numbers = False
        self.may_be_cut = written_bytes is not None
        """Whether a scan may have left an incomplete row."""
        self._path = path
        self._to_text = str if raw else unescape_formula
        self._written_bytes = written_bytes
        self._read_bytes = 0
        self._line = ""
        self._line_count = 0

    def __iter__(self) -> Iterator[Prediction]:
        """Yield the predictions in order. Raises OutputError, with the line, at what is no row."""
        for row in self.rows():
            yield row.prediction

    def rows(self) -> Iterator[CsvRow]:
        """Yield the rows in order. Raises OutputError, with the line, at what is no row."""
        with self._open() as file:
            rows = csv.reader(self._count_lines(file), strict=True)
            columns = 0
            while True:
                row = None
                try:
                    if (cells := next(rows, None)) is None:
                        return
                    if not self._line.endswith(_LINE_ENDS):
                        if self._ends_in_incomplete_row():
                            return
                        self.lacks_newline = True
                    if columns:
                        row = self._parse(cells, columns)
                    else:
                        columns = self._parse_header(cells)
                except (csv.Error, ValueError) as error:
                    if self._ends_in_incomplete_row():
                        return
                    raise OutputError(
                        f"{self._path}: the row that ends in line {self._line_count} is damaged: {error}. "
                        "Mend or remove that row, or name another file with -o"
                    ) from None
                self.whole_bytes = self._read_bytes
                if row:
                    yield row

    def read_header(self) -> None:
        """Read the first line alone, to know the columns. Raises OutputError."""
        reader = CsvReader(self._path)
        next(reader.rows(), None)
        self.extra_columns = reader.extra_columns

    def _open(self, start: int = 0) -> io.TextIOWrapper:
        try:
            file = open_regular_file(os.fspath(self._path))
            file.seek(start)
        except (ImageError, OSError) as error:
            raise OutputError(f"{self._path} cannot be read: {error}") from None
        # Bytes that are not UTF-8 are refused in `_count_lines`, after the rows before them.
        buffered = io.BufferedReader(file)
        return io.TextIOWrapper(buffered, encoding="utf-8", errors="surrogateescape", newline="")

    def _count_lines(self, file: Iterable[str]) -> Iterator[str]:
        """Yield the lines without the mark for Excel. Raises ValueError at those that are no text."""
        for line in file:
            self._line_count += 1
            self._line = line
            try:
                self._read_bytes += len(line) if line.isascii() else len(line.encode())
            except UnicodeEncodeError:
                raise ValueError("it is not UTF-8 text") from None
            if "\0" in line:
                raise ValueError("it holds a NUL byte")
            yield line if self._line_count > 1 else line.removeprefix("\ufeff")

    def _parse_header(self, cells: list[str]) -> int:
        """Return how many columns there are of a scan, and note the others."""
        own = next((header for header in _HEADERS if (*cells[: len(header)],) == header), None)
        if own is None or not {*own}.isdisjoint(cells[len(own) :]):
            raise OutputError(
                f"{self._path}: not a CSV of digitscan: its first line is not {','.join(COLUMNS)}. "
                "Name another file with -o"
            )
        self._has_numbers = has_numbers(own)
        self.extra_columns = (*cells[len(own) :],)
        return len(own)

    def _parse(self, cells: list[str], columns: int) -> CsvRow:
        if len(cells) != columns + len(self.extra_columns):
            raise ValueError(f"{len(cells)} cells instead of {columns + len(self.extra_columns)}")
        own = cells[:columns]
        prediction = parse_cells(own, self._has_numbers, self._to_text)
        return CsvRow(prediction, (*own,), (*cells[columns:],))

    def _ends_in_incomplete_row(self) -> bool:
        """Return whether what follows the whole rows is one incomplete row that a scan left."""
        if self._written_bytes is None or self.whole_bytes < self._written_bytes:
            return False
        with self._open(self.whole_bytes) as file:
            rest = file.read(_MAX_ROW_CHARACTERS + 1)
        if len(rest) > _MAX_ROW_CHARACTERS:
            return False
        data = rest.encode(errors="surrogateescape")
        is_ours = (
            is_beginning_of_row(rest, self._has_numbers)
            if self.whole_bytes
            else _is_beginning_of_header(data)
        )
        if not is_ours:
            return False
        self.incomplete_bytes = len(data)
        return True


def parse_cells(
    cells: Sequence[str], numbers: bool = False, to_text: Callable[[str], str] = unescape_formula
) -> Prediction:
    """Return the prediction in the cells of a scan's columns; `to_text` takes the guard off text.

    `numbers` says whether the second one is a number. Raises ValueError for cells that no scan has written.
    """
    if numbers:
        return _parse_number_cells(cells, to_text)
    path, digit, confidence, status, note, *probabilities = cells
    if len(digit) > 1 or not (confidence == "" or 0.0 <= float(confidence) <= 1.0):
        raise ValueError(f"{digit} with confidence {confidence} is no digit and a number from 0 to 1")
    return Prediction(
        to_text(path),
        int(digit) if digit else None,
        float(confidence) if confidence else None,
        Status(status),
        to_text(note),
        tuple(map(float, probabilities)) if any(probabilities) else None,
    )


def _parse_number_cells(cells: Sequence[str], to_text: Callable[[str], str]) -> Prediction:
    """Return the prediction in the cells of a scan of numbers; see `parse_cells`."""
    path, cell, confidence, status, note, *digit_confidences = cells
    note = to_text(note)
    number = restore_number(cell, note)
    if number and not is_number(number):
        raise ValueError(f"{cell} is no number of digits 0-9; a spreadsheet rounds long ones")
    if confidence and not 0.0 <= float(confidence) <= 1.0:
        raise ValueError(f"the confidence {confidence} is no number from 0 to 1")
    each = digit_confidences[0].split() if digit_confidences else ()
    return Prediction(
        to_text(path),
        None,
        float(confidence) if confidence else None,
        Status(status),
        note,
        number=number or None,
        digit_confidences=tuple(map(float, each)) or None,
    )


def _is_beginning_of_header(data: bytes) -> bool:
    lines = [",".join(columns).encode() for columns in _HEADERS]
    return any((mark + line).startswith(data) for line in lines for mark in (b"", codecs.BOM_UTF8))
