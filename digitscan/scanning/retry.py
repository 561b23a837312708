"""Read again the files whose rows say `error`; all other rows stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from digitscan.errors import OutputError
from digitscan.prediction import ImageFile, Prediction, Status, add_page
from digitscan.scanning.context import ScanContext
from digitscan.scanning.file_locator import FileLocator
from digitscan.scanning.output.csv_format import CsvFormat, CsvRow, CsvWriter
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.pages import find_pages
from digitscan.scanning.scheduler import predict

_ROWS_PER_WRITE = 1000


def retry_errors(sink: OutputSink, csv_format: CsvFormat, context: ScanContext) -> None:
    """Replace the output by one with new rows for the files that could not be read.

    Raises OutputError; the old file is then unchanged.
    """
    paths, config, model, process_factory = context
    files = _find_failed_files(sink, paths, csv_format)
    with (
        contextlib.closing(find_pages(files, config, process_factory)) as pages,
        contextlib.closing(predict(pages, model, config, process_factory)) as new_rows,
    ):
        reader = sink.read_rows(csv_format.raw)
        assert reader is not None
        reader.read_header()
        updated_rows = _replace_errors(reader.rows(), new_rows, sink)
        rewrite_rows(sink, csv_format, reader.extra_columns, updated_rows)


def rewrite_rows(
    sink: OutputSink,
    csv_format: CsvFormat,
    extra_columns: Sequence[str],
    rows: Iterator[CsvRow],
    count: Callable[[Sequence[CsvRow]], object] = lambda _: None,
) -> None:
    """Replace the output by one with these rows; `count` is called with those that are written."""
    with sink.atomic_rewrite() as file:
        writer = CsvWriter(file, csv_format, extra_columns=extra_columns)
        while batch := list(islice(rows, _ROWS_PER_WRITE)):
            writer.write_rows(batch)
            count(batch)


def _replace_errors(
    rows: Iterable[CsvRow], new_rows: Iterator[Prediction], sink: OutputSink
) -> Iterator[CsvRow]:
    """Yield the rows, with the new ones of a file or a page in the place of each that says `error`.

    They are several if the file could not be opened, and has pages: then the first has what people wrote.
    """
    new_row = next(new_rows, None)
    for old in rows:
        row = old.prediction
        if row.status is not Status.ERROR:
            yield old
            continue
        if new_row is None or not _replaces(new_row, row):
            raise OutputError(
                f"{sink.description} was changed by another program while files were read again: it stays "
                "as it is; try again"
            )
        if new_row.path == row.path:
            yield CsvRow(new_row, extra_cells=old.extra_cells)
            new_row = next(new_rows, None)
            continue
        page, extra_cells = 1, old.extra_cells
        while new_row is not None and new_row.path == add_page(row.path, page):
            yield CsvRow(new_row, extra_cells=extra_cells)
            new_row, page, extra_cells = next(new_rows, None), page + 1, ("",) * len(extra_cells)


def _replaces(new_row: Prediction, old_row: Prediction) -> bool:
    """Tell whether a new row is that of the same file or page, or of the file's first page."""
    return new_row.path in {old_row.path, add_page(old_row.path, 1)}


def _find_failed_files(sink: OutputSink, paths: Sequence[Path], csv_format: CsvFormat) -> Iterator[ImageFile]:
    """Yield the files whose rows say `error`, with the paths at which they were found."""
    locator = FileLocator(paths)
    for row in sink.read_rows(csv_format.raw) or ():
        if row.status is Status.ERROR:
            yield locator.locate_row(row)
