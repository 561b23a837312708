r"""The CSV file format: predictions written as whole rows, and read back exactly.

RFC 4180 in UTF-8, but a row ends with `\n` alone: every spreadsheet and CSV reader accepts that, and in a
pipe `cut`, `awk` and `grep` find no stray carriage return in the last column. Text that a spreadsheet would
run as a formula gets a `'` in front (OWASP, "CSV Injection"; CWE-1236): a file name must not run code. Many
spreadsheets split at semicolons, tabs or bars, and then no quotes protect a cell, so the `'` is also put
behind each of these.
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
from digitscan.prediction import Prediction, Status
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("path", "digit", "confidence", "status", "note")
PROBABILITY_COLUMNS = tuple(f"p{digit}" for digit in range(10))

# A formula, also in full-width letters, after blanks or quotes. Tabs and line ends are no blanks here: they
# separate cells, and long runs of them must not be searched again and again.
_FORMULA = r"""(?:[^\S\t\r\n]|["'])*[=+\-@\uff1d\uff0b\uff0d\uff20]"""
_SEPARATOR = r"[,;|\t\r\n]"
_HAS_SEPARATOR = re.compile(_SEPARATOR)
_NEEDS_QUOTES = re.compile(rf'{_SEPARATOR}|"')
# Where a `'` is put: a `'` of the text itself gets another, so that ours can be told from it.
_STARTS_FORMULA = re.compile(rf"'|{_FORMULA}")
_FORMULA_STARTS = re.compile(rf"\A(?=[\t\r\n'])|(?:\A|(?<={_SEPARATOR}))(?={_FORMULA})")
_ESCAPES = re.compile(rf"\A'|(?<={_SEPARATOR})'(?={_FORMULA})")

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class CsvFormat:
    """The options of the CSV: columns p0 to p9, text without the guard against formulas, Excel's mark."""

    probabilities: bool = False
    raw: bool = False
    excel: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return COLUMNS + PROBABILITY_COLUMNS if self.probabilities else COLUMNS


def escape_formula(text: str) -> str:
    """Return the text as a cell that no spreadsheet runs: with `'` before what looks like a formula.

    >>> escape_formula("=1+1.png")
    "'=1+1.png"
    >>> escape_formula("a;=1+1.png")
    "a;'=1+1.png"
    """
    if _HAS_SEPARATOR.search(text):
        return _FORMULA_STARTS.sub("'", text)
    return f"'{text}" if _STARTS_FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` turned into this cell."""
    return _ESCAPES.sub("", cell)


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
    ) -> None:
        """Write the header, unless `header` is false. Raises OSError if the file cannot be written.

        `for_terminal` writes control characters as escapes, which a terminal does not obey.
        """
        self._file = file
        self._format = csv_format or CsvFormat()
        self._is_for_terminal = for_terminal
        if header:
            mark = codecs.BOM_UTF8 if self._format.excel else b""
            self._append([self._format.columns], mark)

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Append the rows and flush them. Raises OSError, with no half row left in a regular file."""
        self._append(map(self._cells, predictions))

    def _cells(self, row: Prediction) -> Sequence[str]:
        cells = [
            self._text_cell(row.path),
            "" if row.digit is None else str(row.digit),
            "" if row.confidence is None else f"{row.confidence:.4f}",
            row.status,
            self._text_cell(row.note) if row.note else "",
        ]
        if self._format.probabilities:
            cells += [f"{p:.4f}" for p in row.probabilities] if row.probabilities else [""] * 10
        return cells

    def _text_cell(self, text: str) -> str:
        if self._is_for_terminal:
            text = escape_control_characters(text)
        return _quote(text if self._format.raw else escape_formula(text))

    def _append(self, rows: Iterable[Sequence[str]], mark: bytes = b"") -> None:
        data = memoryview(mark + "".join([",".join(cells) + "\n" for cells in rows]).encode())
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
            self._file.flush()
        except OSError:
            # Counted back from the end: in a file opened for appending (`>>`) the start of this write is
            # unknown.
            if written and self._file.seekable():
                with contextlib.suppress(OSError):
                    self._file.truncate(self._file.tell() - written)
            raise


def read_csv(path: Path, raw: bool = False) -> Iterator[Prediction]:
    """Yield the predictions of a CSV that CsvWriter wrote, exactly as they were.

    `raw` says that it was written with `CsvFormat(raw=True)`. Raises OutputError, with the line, if the file
    is not such a CSV.
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
                yield _parse(cells, str if raw else unescape_formula)
        except (csv.Error, ValueError) as error:
            raise OutputError(
                f"{path}: the row that ends in line {rows.line_num} is damaged: {error}."
            ) from None


def truncate_to_whole_rows(file: IO[bytes]) -> int:
    """Remove the incomplete last row that a killed scan leaves; return the bytes that are kept.

    A row ends with a newline outside quotes; in our CSVs every quote has its partner. Raises OSError.
    """
    file.seek(0)
    position = whole_bytes = quotes = 0
    while block := file.read(_READ_BYTES):
        start = 0
        while (newline := block.find(b"\n", start)) >= 0:
            quotes += block.count(b'"', start, newline)
            start = newline + 1
            if quotes % 2 == 0:
                whole_bytes = position + start
        quotes += block.count(b'"', start)
        position += len(block)
    file.truncate(whole_bytes)
    file.seek(whole_bytes)
    return whole_bytes


def _quote(text: str) -> str:
    # Not with csv.writer, which leaves a lone carriage return without quotes.
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _parse(cells: list[str], to_text: Callable[[str], str]) -> Prediction:
    path, digit, confidence, status, note, *probabilities = cells
    return Prediction(
        to_text(path),
        int(digit) if digit else None,
        float(confidence) if confidence else None,
        Status(status),
        to_text(note),
        tuple(map(float, probabilities)) if any(probabilities) else None,
    )
