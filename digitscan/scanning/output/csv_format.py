"""Predictions and the CSV they are kept in: written whole rows at a time, read back exactly.

RFC 4180 and UTF-8, except that a row ends with LF alone: every spreadsheet and CSV reader takes it,
and in a pipe `cut`, `awk` and `grep` then see no stray CR in the last column.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from digitscan.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

from digitscan.prediction import Prediction, Status

COLUMNS = ("path", "digit", "confidence", "status", "note")


PROBABILITY_COLUMNS = tuple(f"p{digit}" for digit in range(10))


# What a spreadsheet may run (also in its full-width forms, and after blanks or quotes), and our own mark.
_RISKY = re.compile(r"[\t\r\n']|[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20]")


_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


def escape_formula(text: str) -> str:
    """Return the text as a cell that no spreadsheet runs: `'` in front where it might be a formula."""
    return f"'{text}" if _RISKY.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` made this cell of."""
    return cell.removeprefix("'")


def _quoted(text: str) -> str:
    # Done here because Python's csv.writer leaves a lone CR unquoted.
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


@dataclass(frozen=True)
class CsvFormat:
    """How rows are written: with p0 to p9, with text cells as they are, with the mark that Excel wants."""

    probabilities: bool = False
    raw: bool = False
    excel: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return COLUMNS + PROBABILITY_COLUMNS if self.probabilities else COLUMNS


class CsvWriter:
    """Write predictions as CSV to a binary file: each call leaves whole rows there, flushed.

    The header is written at once unless `header` is false. Where the file can be cut, a row that
    the disk had no room for is taken back, so that what stands there is whole rows.
    """

    def __init__(self, file: IO[bytes], csv_format: CsvFormat | None = None, header: bool = True) -> None:
        """Take a binary file open for writing; raises OSError if it cannot be written."""
        self._file = file
        self._layout = csv_format or CsvFormat()
        self._text = str if self._layout.raw else escape_formula
        if header:
            mark = codecs.BOM_UTF8 if self._layout.excel else b""
            self._append([self._layout.columns], mark)

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Append the rows and flush them. Raises OSError, with no half row left in a regular file."""
        self._append(map(self._cells, predictions))

    def _cells(self, row: Prediction) -> Sequence[str]:
        cells = [
            _quoted(self._text(row.path)),
            "" if row.digit is None else str(row.digit),
            "" if row.confidence is None else f"{row.confidence:.4f}",
            row.status,
            _quoted(self._text(row.note)),
        ]
        if self._layout.probabilities:
            cells += [f"{p:.4f}" for p in row.probabilities] if row.probabilities else [""] * 10
        return cells

    def _append(self, rows: Iterable[Sequence[str]], mark: bytes = b"") -> None:
        data = memoryview(mark + "".join([",".join(cells) + "\n" for cells in rows]).encode())
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
            self._file.flush()
        except OSError:
            # Told from where the writing ended: where all is appended (`>>`) nobody knows where it began.
            if written and self._file.seekable():
                with contextlib.suppress(OSError):
                    self._file.truncate(self._file.tell() - written)
            raise


def read_csv(path: Path, raw: bool = False) -> Iterator[Prediction]:
    """Yield the predictions of a CSV that CsvWriter wrote, exactly as they were.

    `raw` tells that it was written so, with text cells as they are. Raises OutputError where the file is
    not such a CSV, naming the row.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = tuple(next(rows, ()))
            if header not in {COLUMNS, COLUMNS + PROBABILITY_COLUMNS}:
                raise OutputError(
                    f"{path}: not a CSV of digitscan: its first line is not {','.join(COLUMNS)}."
                )
            for cells in rows:
                if len(cells) != len(header):
                    raise ValueError(f"{len(cells)} cells instead of {len(header)}")
                yield _prediction(cells, str if raw else unescape_formula)
        except (csv.Error, ValueError) as error:
            where = f"the row that ends in line {rows.line_num}"
            raise OutputError(f"{path}: {where} is damaged: {error}.") from None


def _prediction(cells: list[str], text: Callable[[str], str]) -> Prediction:
    name, digit, confidence, status, note, *probabilities = cells
    return Prediction(
        text(name),
        int(digit) if digit else None,
        float(confidence) if confidence else None,
        Status(status),
        text(note),
        tuple(map(float, probabilities)) if any(probabilities) else None,
    )


_PIECE = 1 << 20


def truncate_to_whole_rows(file: IO[bytes]) -> int:
    """Cut what a killed scan left of its last record; return the bytes that stay. Raises OSError.

    A record ends with a newline that no quotes enclose; in our CSVs every quote has its partner.
    """
    file.seek(0)
    position = whole = quotes = 0
    while piece := file.read(_PIECE):
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            quotes += piece.count(b'"', start, end)
            start = end + 1
            if quotes % 2 == 0:
                whole = position + start
        quotes += piece.count(b'"', start)
        position += len(piece)
    file.truncate(whole)
    file.seek(whole)
    return whole
