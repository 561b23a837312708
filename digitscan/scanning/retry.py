"""Read again what could not be read: the rows of a CSV stay, those with status error are replaced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.prediction import NOT_UTF8, ImageFile, Status, text_to_path
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter, read_csv
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.scheduler import ScanOptions, scan

if TYPE_CHECKING:
    from digitscan.model.registry import Model

_ROWS_A_WRITE = 1000


def retry_errors(
    output: OutputSink, paths: Sequence[Path], model: Model, options: ScanOptions, csv_format: CsvFormat
) -> None:
    """Write the output anew, with its error rows read again.

    `paths` are those of the scan that wrote it. Raises OutputError; the old file then stays as it was.
    """
    assert output.path is not None
    with contextlib.closing(scan(_failed_files(output.path, paths, csv_format), model, options)) as again:
        rows = read_csv(output.path, csv_format.raw)
        replaced = (next(again) if row.status is Status.ERROR else row for row in rows)
        with output.atomic_rewrite() as file:
            writer = CsvWriter(file, csv_format)
            while some := list(islice(replaced, _ROWS_A_WRITE)):
                writer.write(some)


def _failed_files(csv: Path, paths: Sequence[Path], csv_format: CsvFormat) -> Iterator[ImageFile]:
    """Yield the files whose rows say error, where they were found."""
    alone = len(paths) == 1 and os.path.isdir(paths[0])
    folder = os.fsencode(paths[0]) + b"/" if alone else b""
    for row in read_csv(csv, csv_format.raw):
        if row.status is Status.ERROR:
            name = text_to_path(row.path, NOT_UTF8 not in row.note)
            notes = (NOT_UTF8,) if NOT_UTF8 in row.note else ()
            yield ImageFile(os.fsdecode(folder + name), row.path, notes)
