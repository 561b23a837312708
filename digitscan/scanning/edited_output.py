"""Bring an output that people have edited back into the form in which a scan goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import islice

from digitscan.errors import OutputError
from digitscan.scanning.output.csv_format import CsvFormat, CsvRow, CsvWriter
from digitscan.scanning.output.edited_csv import EditedCsv, read_edited_csv
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.resume import Positions
from digitscan.system.log import escape_control_characters, log


def restore_format(
    sink: OutputSink, csv_format: CsvFormat, roots: Sequence[str], has_other_roots: bool
) -> None:
    """Write the rows of an edited output anew: in a scan's format and order, with the columns people added.

    An output to which rows can be added as it is, edited or not, is left alone. Else the file as it was is
    kept beside it, as `FILE.bak`. Where nobody has edited it, and only the paths are given in another order,
    its rows are put into that order. Raises OutputError for what is no row; the file is then as it was.
    """
    if (sink.is_unchanged and not has_other_roots) or _is_in_order(sink, csv_format, roots):
        return
    edited = _read_edited(sink, csv_format)
    positions = Positions(roots)
    rows = sorted(edited.rows, key=lambda row: positions.of_row(row.prediction))
    with contextlib.ExitStack() as stack:
        backup = None if sink.is_unchanged else stack.enter_context(sink.keep_backup())
        with sink.atomic_rewrite() as file:
            CsvWriter(file, csv_format, extra_columns=edited.extra_columns).write_rows(rows)
    if backup:
        log(f"{sink.path} was edited: {_describe(edited)}. The file as it was is {backup}")


def read_first_rows(sink: OutputSink, csv_format: CsvFormat, count: int) -> list[CsvRow]:
    """Return the first rows of an output, also of one that people have edited. Raises OutputError."""
    reader = sink.read_rows(csv_format.raw)
    with contextlib.suppress(OutputError):
        return list(islice(reader.rows(), count)) if reader else []
    return list(_read_edited(sink, csv_format).rows[:count])


def _read_edited(sink: OutputSink, csv_format: CsvFormat) -> EditedCsv:
    assert sink.path is not None
    reader = sink.read_rows(csv_format.raw)
    return read_edited_csv(sink.path, csv_format, reader is not None and reader.may_be_cut)


def _describe(edited: EditedCsv) -> str:
    names = escape_control_characters(", ".join(name or "without a name" for name in edited.extra_columns))
    kept = f", with your columns ({names})" if edited.extra_columns else ""
    return f"its rows are again in digitscan's format and order{kept}"


def _is_in_order(sink: OutputSink, csv_format: CsvFormat, roots: Sequence[str]) -> bool:
    """Tell whether all rows are as a scan writes them, each file's behind those of the file before.

    A row that people have copied may be there twice.
    """
    reader = sink.read_rows(csv_format.raw)
    positions, last = Positions(roots), None
    try:
        for row in reader.rows() if reader else ():
            position = positions.of_row(row.prediction)
            if (last is not None and position < last) or not _is_whole(row, csv_format):
                return False
            last = position
    except OutputError:
        return False
    return True


def _is_whole(row: CsvRow, csv_format: CsvFormat) -> bool:
    """Tell whether a row has all cells, and its number the leading zeros that a spreadsheet takes away."""
    has_zeros = not csv_format.numbers or row.cells[1] == (row.prediction.number or "")
    return has_zeros and len(row.cells) == len(csv_format.columns)
