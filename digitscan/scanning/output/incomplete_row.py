"""Recognize a row that a killed scan left incomplete at the end of a CSV, and nothing that people add there.

`csv_format` drops what it finds so, and the scan goes on behind the last whole row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from digitscan.prediction import Status

_STATUS_CELL = re.compile(f",({'|'.join(Status)}),")
_CELLS = (r"[\d.]*", "|".join(Status))
"""What a scan writes into the third and fourth cell of a row, as patterns."""
_DIGIT_CELL, _NUMBER_CELL = r"\d?", r"\d*"
"""The same for the second cell."""


def is_cut_row(cells: Sequence[str], numbers: bool) -> bool:
    """Tell whether cells may be a row that a killed scan left incomplete, and a spreadsheet filled up."""
    end = max((index for index, cell in enumerate(cells) if cell), default=0) + 1
    return _are_beginnings_of_cells([*cells[1:end]], numbers)


def is_beginning_of_row(text: str, numbers: bool) -> bool:
    """Return whether text may be the beginning of a row that a killed scan left, and nothing that people add.

    It is one row, whose cells are what a scan writes as far as they go. Only a name or a note has line ends,
    in quotes: where the quotes are still open, lines with a status or with commas are rather rows behind a
    stray quote. A power loss may leave NUL bytes in the place of its end.
    """
    text = text.rstrip("\0")
    if not text or "\0" in text:
        return not text
    is_open = text.count('"') % 2 == 1
    *lines, last_line = re.split("[\r\n]", text)
    if not (is_open or last_line) or any(map(_STATUS_CELL.search, lines)):
        return False
    if is_open and any("," in line for line in lines[1:]):
        return False
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return False
    return len(rows) == 1 and _are_beginnings_of_cells(rows[0][1:], numbers)


def _are_beginnings_of_cells(cells: list[str], numbers: bool) -> bool:
    """Tell whether a scan may have written these cells behind a path, the last one perhaps not whole."""
    patterns = (_NUMBER_CELL if numbers else _DIGIT_CELL, *_CELLS)
    *whole, last = cells or [""]
    if not all(re.fullmatch(pattern, cell) for pattern, cell in zip(patterns, whole, strict=False)):
        return False
    if len(whole) == 2:
        return any(status.startswith(last) for status in Status)
    return len(whole) > 2 or bool(re.fullmatch(patterns[len(whole)], last))
