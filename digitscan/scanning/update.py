"""Bring an output up to date: read what has no row, and what has changed, and write all rows anew, in order.

The rows of a scan and the files come in the same order, so two passes over the rows do it in constant memory:
the first finds the files to read, the second puts their rows in place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from digitscan.prediction import ImageFile, Prediction, Status
from digitscan.scanning.output.csv_format import CsvRow
from digitscan.scanning.resume import Position, Positions
from digitscan.system.folders import FolderOpener
from digitscan.system.log import format_count

if TYPE_CHECKING:
    from digitscan.scanning.output.manifest import StoredScan

CORRECTED_COLUMN = "corrected"
CHANGED_NOTE = "changed since it was corrected"
_CLOCK_TOLERANCE_SECONDS = 60.0
"""What changed so shortly before the last scan is read again: the clock of a file server may be behind."""


@dataclass
class UpdateCounts:
    """What an update has done."""

    new_files: int = 0
    changed_files: int = 0
    """Files with a row that may have changed, and were read again."""
    changed_rows: int = 0
    """Rows that say something else since."""
    missing_files: int = 0
    """Files that are no longer there, whose rows are kept."""

    @property
    def description(self) -> str:
        """The counts in words."""
        read = f"{format_count(self.new_files, 'new file')} read"
        changed = f" ({format_count(self.changed_rows, 'row')} changed)" if self.changed_files else ""
        read_again = f"{format_count(self.changed_files, 'file')} read again{changed}"
        kept = f"; the rows of {format_count(self.missing_files, 'file')} that are gone are kept"
        return f"{read}, {read_again}" + (kept if self.missing_files else "")


class LastRead(NamedTuple):
    """When the files with a row were read."""

    started: float
    """What has not changed since is as it was read; in seconds since 1970."""
    is_moved: bool
    """Whether the images are at another place than then."""

    @classmethod
    def of(cls, stored: StoredScan) -> LastRead:
        """Return what a manifest says of it."""
        return cls(stored.started, stored.moved_from is not None)


def find_files_to_read(
    files: Iterable[ImageFile],
    rows: Iterable[Prediction],
    roots: Sequence[str],
    last_read: LastRead,
    counts: UpdateCounts,
    reads_last_again: bool,
) -> Iterator[ImageFile]:
    """Yield those of the files that have no row or have changed since, in order, and count them.

    `files` and `rows` are both in a scan's order. `reads_last_again` says that the scan was interrupted, and
    that pages of the last file may be missing.
    """
    positions = Positions(roots)
    change_finder = _ChangeFinder(last_read)
    row_positions = _list_positions(rows, positions)
    next_position = next(row_positions, None)
    for file in files:
        position = positions.of_file(file)
        while next_position is not None and next_position < position:
            counts.missing_files += 1
            next_position = next(row_positions, None)
        if next_position != position:
            counts.new_files += 1
            yield file
            continue
        next_position = next(row_positions, None)
        if change_finder.has_changed(file) or (reads_last_again and next_position is None):
            counts.changed_files += 1
            yield file
    counts.missing_files += (next_position is not None) + sum(1 for _ in row_positions)


def _list_positions(rows: Iterable[Prediction], positions: Positions) -> Iterator[Position]:
    """Yield the position of each file that has rows."""
    for position, _ in groupby(positions.of_row(row)[0] for row in rows):
        yield position


class _ChangeFinder:
    """Tells which files have changed since they were read."""

    def __init__(self, last_read: LastRead) -> None:
        self._last_read = last_read
        self._folders = FolderOpener()

    def has_changed(self, file: ImageFile) -> bool:
        """Tell whether a file may have changed. One that cannot be looked at is read, which says why."""
        try:
            path, dir_fd = self._folders.locate(file.path, file.folder)
            return self._is_later(path, dir_fd)
        except OSError:
            return True

    def _is_later(self, path: str, dir_fd: int | None) -> bool:
        status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)  # a folder's descriptor
        times = [status.st_mtime]
        # When the file was put in its place, which all files of a copied folder were anew. On Windows it is
        # when the file was made.
        if not self._last_read.is_moved and os.name == "posix":
            times.append(status.st_ctime)
        since = self._last_read.started - _CLOCK_TOLERANCE_SECONDS
        if max(times) >= since:
            return True
        if not stat.S_ISLNK(status.st_mode):
            return False
        return os.stat(path, dir_fd=dir_fd).st_mtime >= since


def merge_rows(
    rows: Iterable[CsvRow],
    new_rows: Iterable[Prediction],
    roots: Sequence[str],
    columns: Sequence[str],
    counts: UpdateCounts,
) -> Iterator[CsvRow]:
    """Yield the rows of a CSV with new ones in their places, those of the same files in the place of the old.

    The rows that change are counted. `columns` are those that people have added. A file that is read as
    before keeps its row as it is, and any other what people wrote beside it; what was corrected before the
    file changed is `review`.
    """
    positions = Positions(roots)
    merge = _FileMerge(columns, counts)
    old_files = groupby(rows, lambda row: positions.of_row(row.prediction)[0])
    new_files = groupby(new_rows, lambda row: positions.of_row(row)[0])
    new = next(new_files, None)
    for position, old_rows in old_files:
        while new is not None and new[0] < position:
            yield from merge.merge([], new[1])
            new = next(new_files, None)
        if new is not None and new[0] == position:
            yield from merge.merge(old_rows, new[1])
            new = next(new_files, None)
        else:
            yield from old_rows
    while new is not None:
        yield from merge.merge([], new[1])
        new = next(new_files, None)


class _FileMerge:
    """Puts the new rows of one file in the place of its old ones."""

    def __init__(self, columns: Sequence[str], counts: UpdateCounts) -> None:
        self._counts = counts
        self._no_cells = ("",) * len(columns)
        names = [name.strip().lower() for name in columns]
        self._corrected_index = names.index(CORRECTED_COLUMN) if CORRECTED_COLUMN in names else None

    def merge(self, old_rows: Iterable[CsvRow], new_rows: Iterable[Prediction]) -> Iterator[CsvRow]:
        """Yield the new rows, and those old ones that none replaces and people have written beside."""
        old = {row.prediction.path: row for row in old_rows}
        for new_row in new_rows:
            old_row = old.pop(new_row.path, None)
            yield self._replace(old_row, new_row) if old_row else CsvRow(new_row, extra_cells=self._no_cells)
        yield from (row for row in old.values() if any(row.extra_cells))

    def _replace(self, old_row: CsvRow, new_row: Prediction) -> CsvRow:
        if _reads_as(old_row.prediction, new_row):
            return old_row
        self._counts.changed_rows += 1
        index = self._corrected_index
        if index is not None and old_row.extra_cells[index].strip():
            status = Status.REVIEW if new_row.status is Status.OK else new_row.status
            note = "; ".join(filter(None, (new_row.note, CHANGED_NOTE)))
            new_row = Prediction(
                new_row.path, new_row.digit, new_row.confidence, status, note, new_row.probabilities
            )
        return CsvRow(new_row, extra_cells=old_row.extra_cells)


def _reads_as(old: Prediction, new: Prediction) -> bool:
    """Tell whether two rows say the same, but for decimals that a CSV does not have."""
    return (
        (old.digit, old.status, old.note) == (new.digit, new.status, new.note)
        and _round(old.confidence) == _round(new.confidence)
        and [*map(_round, old.probabilities or ())] == [*map(_round, new.probabilities or ())]
    )


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
