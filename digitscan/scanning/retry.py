"""Read again the files whose rows say `error`; all other rows stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import OutputError
from digitscan.prediction import NOT_UTF8, ImageFile, Prediction, Status, text_to_path
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.discovery import FileLocator
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.scheduler import predict
from digitscan.workers.supervisor import ProcessFactory

if TYPE_CHECKING:
    from digitscan.model.registry import Model

_ROWS_PER_WRITE = 1000


def retry_errors(
    sink: OutputSink,
    paths: Sequence[Path],
    model: Model,
    config: ScanConfig,
    csv_format: CsvFormat,
    process_factory: ProcessFactory,
) -> None:
    """Replace the output by one with new rows for the files that could not be read.

    `paths` are those of the scan that wrote it. Raises OutputError; the old file is then unchanged.
    """
    files = _find_failed_files(sink, paths, csv_format)
    with contextlib.closing(predict(files, model, config, process_factory)) as new_rows:
        rows = sink.read_rows(csv_format.raw) or ()
        updated_rows = (_next_row(new_rows, row, sink) if row.status is Status.ERROR else row for row in rows)
        with sink.atomic_rewrite() as file:
            writer = CsvWriter(file, csv_format)
            while batch := list(islice(updated_rows, _ROWS_PER_WRITE)):
                writer.write(batch)


def _next_row(new_rows: Iterator[Prediction], old_row: Prediction, sink: OutputSink) -> Prediction:
    """Return the next new row, which must be that of the same file."""
    new_row = next(new_rows, None)
    if new_row is None or new_row.path != old_row.path:
        raise OutputError(
            f"{sink.description} was changed by another program while files were read again: it stays as it "
            "is; try again"
        )
    return new_row


def _find_failed_files(sink: OutputSink, paths: Sequence[Path], csv_format: CsvFormat) -> Iterator[ImageFile]:
    """Yield the files whose rows say `error`, with the paths at which they were found."""
    locator = FileLocator(paths)
    for row in sink.read_rows(csv_format.raw) or ():
        if row.status is Status.ERROR:
            is_utf8 = NOT_UTF8 not in row.note
            path, folder = locator.locate(text_to_path(row.path, is_utf8))
            yield ImageFile(path, row.path, () if is_utf8 else (NOT_UTF8,), folder)
