"""The rows of a scan's CSV as people review them: all cells as they are, and where the pictures are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from digitscan.csv_cells import DIGIT_COLUMN, NUMBER_COLUMN, has_numbers
from digitscan.errors import DataError
from digitscan.evaluation.corrected_csv import AUDIT_COLUMN
from digitscan.evaluation.labels import (
    CORRECTED_COLUMN,
    NO_DIGIT_LABEL,
    parse_label,
    read_table,
    restore_numbers,
)
from digitscan.evaluation.metrics import NO_DIGIT
from digitscan.evaluation.picture_paths import create_picture_finder
from digitscan.prediction import NOT_UTF8, Status
from digitscan.workers.protocol import FileLocation

NEEDED_COLUMNS = ("path", "confidence", "status", "note")
"""The columns that are needed besides the one with what was read."""


@dataclass(frozen=True)
class ReviewedRows:
    """The rows of a CSV."""

    header: tuple[str, ...]
    """The names of the columns as they are in the file."""
    columns: tuple[str, ...]
    """The same in lower case."""
    cells: list[list[str]]
    """The cells of each row."""
    pictures: list[FileLocation]
    """The picture of each row, where it should be now."""
    ok_indices: list[int]
    """The rows with status `ok`."""
    audit_indices: list[int]
    """The rows that an earlier review has drawn at random."""
    digest: str
    """The SHA-256 of the file: the page keeps corrections under it."""
    has_mark: bool
    """Whether the file begins with the mark by which Excel recognizes UTF-8."""
    has_numbers: bool = False
    """Whether whole numbers were read, not single digits."""


def read_rows(csv: Path, images: Path | None) -> ReviewedRows:
    """Return the rows of a scan's CSV; `images` is the folder in which their paths begin, if they have moved.

    Raises DataError for a file that is no such CSV, and for corrections that are no labels.
    """
    table = read_table(csv)
    is_of_numbers = has_numbers(table.columns)
    first, *others = NEEDED_COLUMNS
    needed = (first, NUMBER_COLUMN if is_of_numbers else DIGIT_COLUMN, *others)
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(f"{csv} is not a CSV of digitscan: it has no column named {' or '.join(missing)}")
    find_picture = create_picture_finder(csv, images)
    cells, pictures, ok_indices, audit_indices = [], [], [], []
    for index, (line, row) in enumerate(table.rows):
        status = row["status"].strip().lower()
        if status not in {*Status}:
            raise DataError(
                f"{csv}, line {line}: {row['status']!r} is no status: expected {', '.join(Status)}"
            )
        pictures.append(find_picture(row["path"], NOT_UTF8 not in row["note"]))
        read = _normalize_number(row, csv, line) if is_of_numbers else _normalize_digit(row, csv, line)
        cells.append([*{**row, **read, "status": status}.values()])
        if status == Status.OK:
            ok_indices.append(index)
        if row.get(AUDIT_COLUMN, "").strip():
            audit_indices.append(index)
    if not cells:
        raise DataError(f"{csv} has no rows")
    return ReviewedRows(
        table.header,
        table.columns,
        cells,
        pictures,
        ok_indices,
        audit_indices,
        table.digest,
        table.has_mark,
        is_of_numbers,
    )


def _normalize_digit(row: dict[str, str], csv: Path, line: int) -> dict[str, str]:
    """Return the cells with the digit and its correction as a scan and the page write them."""
    normal = {DIGIT_COLUMN: _to_cell(parse_label(row[DIGIT_COLUMN], csv, line))}
    if CORRECTED_COLUMN in row:
        label = parse_label(row[CORRECTED_COLUMN], csv, line)
        normal[CORRECTED_COLUMN] = NO_DIGIT_LABEL if label == NO_DIGIT else _to_cell(label)
    return normal


def _normalize_number(row: dict[str, str], csv: Path, line: int) -> dict[str, str]:
    """Return the same cells of a whole number."""
    corrected, number = restore_numbers(row, csv, line)
    normal = {NUMBER_COLUMN: number or ""}
    if CORRECTED_COLUMN in row:
        normal[CORRECTED_COLUMN] = NO_DIGIT_LABEL if corrected == "" else corrected or ""
    return normal


def _to_cell(label: int | None) -> str:
    """Return a digit as a scan writes it; an empty cell for none."""
    return "" if label in {None, NO_DIGIT} else str(label)
