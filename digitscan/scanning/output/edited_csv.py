"""Read a CSV of a scan as people and spreadsheets save it, with the columns that they have added.

Spreadsheets change what separates the cells, line ends and quotes; write decimal commas and `0.98` for
`0.9800`; and leave out what is empty at the end of a row. People add columns, move them, and sort the rows.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from digitscan.csv_cells import detect_delimiter, restore_number, skip_separator_line, unescape_formula
from digitscan.errors import ImageError, OutputError
from digitscan.scanning.output.csv_format import CsvFormat, CsvRow, parse_cells
from digitscan.scanning.output.incomplete_row import is_cut_row
from digitscan.system.files import open_regular_file

_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class EditedCsv:
    """A CSV that was edited, all of it in memory: spreadsheets have a million rows at most."""

    rows: tuple[CsvRow, ...]
    """The rows in the order of the file. Their cells are as a scan writes them."""
    extra_columns: tuple[str, ...]
    """The columns that a scan does not write."""


def read_edited_csv(path: Path, csv_format: CsvFormat, may_be_cut: bool) -> EditedCsv:
    """Return the rows of a CSV in which a scan has written this format.

    `may_be_cut` says that a killed scan may have left an incomplete last row, which is then left out. Raises
    OutputError, with the line, for what is no row, and where a column of the scan is missing.
    """
    lines = _read_lines(path, csv_format)
    _, header = next(lines, (0, []))
    columns = _find_columns(path, header, csv_format)
    extra_columns = [index for index in range(len(header)) if index not in columns]
    rows: list[CsvRow] = []
    cut: OutputError | None = None
    for line, cells in lines:
        if not any(cells):
            continue
        if cut:
            raise cut
        cells += [""] * (len(header) - len(cells))
        own_cells = [cells[index] for index in columns]
        extra_cells = tuple(cells[index] for index in extra_columns)
        try:
            rows.append(_parse_row(own_cells, extra_cells, any(cells[len(header) :]), csv_format))
        except ValueError as error:
            cut = _damage_error(path, line, error)
            if not may_be_cut or any(extra_cells) or not is_cut_row(own_cells, csv_format.numbers):
                raise cut from None
    return _drop_nameless_columns(rows, [header[index].strip() for index in extra_columns])


def _read_lines(path: Path, csv_format: CsvFormat) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row, with the line in which it ends."""
    try:
        with open_regular_file(os.fspath(path)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise OutputError(f"{path} is too large to be brought into order. Name another file with -o")
            text = file.read(size).decode("utf-8-sig")
    except (ImageError, OSError) as error:
        raise OutputError(f"{path} cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise OutputError(
            f"{path}: not UTF-8 text: save it as CSV in UTF-8, or name another file with -o"
        ) from None
    if "\0" in text:
        raise OutputError(f"{path}: it holds a NUL byte. Name another file with -o")
    text = skip_separator_line(text)
    delimiter = detect_delimiter(text.partition("\n")[0], csv_format.columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise _damage_error(path, reader.line_num, error) from None


def _find_columns(path: Path, header: list[str], csv_format: CsvFormat) -> list[int]:
    """Return where the columns of a scan are. Raises OutputError if one is missing or there twice."""
    names = [name.strip() for name in header]
    if any(names.count(name) != 1 for name in csv_format.columns):
        names = [name.lower() for name in names]
    missing = [name for name in csv_format.columns if names.count(name) != 1]
    if len(missing) > len(csv_format.columns) // 2:
        raise OutputError(
            f"{path}: not a CSV of digitscan: its first line is not {','.join(csv_format.columns)}. "
            "Name another file with -o"
        )
    if missing:
        raise OutputError(
            f"{path}: it needs one column named {' and one named '.join(missing)}: put it back, "
            "or name another file with -o"
        )
    return [names.index(name) for name in csv_format.columns]


def _parse_row(
    cells: list[str], extra_cells: tuple[str, ...], has_more_cells: bool, csv_format: CsvFormat
) -> CsvRow:
    """Return a row with its cells as a scan writes them. Raises ValueError for what is no row."""
    if has_more_cells:
        raise ValueError("it has more cells than there are columns")
    path, value, confidence, status, note, *more = cells
    own = (
        path,
        restore_number(value, note),
        _format_number(confidence),
        status.strip().lower(),
        note,
        *(" ".join(map(_format_number, cell.split())) for cell in more),
    )
    prediction = parse_cells(own, csv_format.numbers, str if csv_format.raw else unescape_formula)
    if not path:
        raise ValueError("it has no path")
    return CsvRow(prediction, own, extra_cells)


def _format_number(cell: str) -> str:
    """Return a number from 0 to 1 with four decimals, also one with a decimal comma; empty if it is empty."""
    text = cell.strip().replace(",", ".")
    if not text:
        return ""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{cell} is no number from 0 to 1")
    return f"{number:.4f}"


def _drop_nameless_columns(rows: list[CsvRow], names: list[str]) -> EditedCsv:
    """Return the rows without columns that have neither a name nor a cell: spreadsheets add such."""
    kept = [index for index, name in enumerate(names) if name or any(row.extra_cells[index] for row in rows)]
    if len(kept) < len(names):
        rows = [row._replace(extra_cells=tuple(row.extra_cells[index] for index in kept)) for row in rows]
    return EditedCsv(tuple(rows), tuple(names[index] for index in kept))


def _damage_error(path: Path, line: int, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: the row that ends in line {line} is damaged: {error}. "
        "Mend or remove that row, or name another file with -o"
    )
