"""Tell images that were moved or copied from others that only have the same names."""

from __future__ import annotations

import os

from digitscan.errors import OutputError
from digitscan.prediction import Folder, Prediction, Status
from digitscan.scanning.context import ScanContext
from digitscan.scanning.edited_output import read_first_rows
from digitscan.scanning.file_locator import FileLocator
from digitscan.scanning.output.csv_format import CsvFormat
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.scheduler import predict
from digitscan.system.folders import join_path

MAX_LOOKED_FOR = 1000
"""The first rows, whose files must be there."""
MAX_READ = 16
"""Of these, so many are read again."""
MIN_SHARE = 0.5
"""The share of files that must be there, and of those read again that must read as before: some may have
changed, and people may have corrected some rows. Of other images a tenth reads the same by chance.
"""


def check_same_images(sink: OutputSink, csv_format: CsvFormat, context: ScanContext, moved_from: str) -> None:
    """Raise OutputError unless the files of an output's rows, which were at another place, are here.

    Scans are often named alike, `001.png` in each folder: a few of the files are read, to see that they read
    as their rows say.
    """
    paths, config, model, process_factory = context
    locator = FileLocator(paths)
    rows = [row.prediction for row in read_first_rows(sink, csv_format, MAX_LOOKED_FOR)]
    files = [locator.locate_row(row) for row in rows]
    found = [(row, file) for row, file in zip(rows, files, strict=True) if _exists(file.path, file.folder)]
    if len(found) < MIN_SHARE * len(rows):
        raise OutputError(
            f"{sink.path} holds rows of the images in {moved_from}: of its first {len(rows):,}, "
            f"{len(found):,} are here as well. Name another file with -o"
        )
    readable = [pair for pair in found if pair[0].status is not Status.ERROR]
    sample = readable[:: max(1, len(readable) // MAX_READ)][:MAX_READ]
    new_rows = predict([file for _, file in sample], model, config, process_factory)
    same = sum(_is_same(row, new) for (row, _), new in zip(sample, new_rows, strict=True))
    if same < MIN_SHARE * len(sample):
        raise OutputError(
            f"{sink.path} holds rows of the images in {moved_from}, and those of the same names here are "
            f"others: of {len(sample)} that were tried, {same} read the same. Name another file with -o"
        )


def _exists(file: str, folder: Folder | None) -> bool:
    return os.path.lexists(join_path(folder, file) if folder else file)


def _is_same(old: Prediction, new: Prediction) -> bool:
    if (old.digit, old.number) != (new.digit, new.number):
        return False
    return round(old.confidence or 0.0, 4) == round(new.confidence or 0.0, 4)
