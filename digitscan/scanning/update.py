"""Bring an output up to date: read what has no row, and what has changed, and write all rows anew, in order.

The rows of a scan and the files come in the same order, so two passes over the rows do it in constant memory:
the first finds the files to read, the second puts their rows in place.
"""

from __future__ import annotations

import dataclasses
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

BEFORE_NOTE = "before: "
"""How the end of a note begins that says what stood in a row which people may have edited."""
GONE_NOTE = "no longer in the file"
"""The note of a page that the file no longer has, in a row beside which people have written."""
_TIME_STEP_SECONDS = 2.0
"""The coarsest step of a file system's times, that of FAT: what changed so shortly before is read again."""


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
    was_interrupted: bool = False,
) -> Iterator[ImageFile]:
    """Yield those of the files that have no row or have changed since, in order, and count them.

    `files` and `rows` are both in a scan's order. A file whose pages do not all have rows is read again:
    people may have removed some, and if the scan was interrupted, the last ones of the last file may be
    missing.
    """
    positions = Positions(roots)
    change_finder = _ChangeFinder(last_read)
    all_rows = _list_files(rows, positions)
    written = next(all_rows, None)
    for file in files:
        position = positions.of_file(file)
        while written is not None and written.position < position:
            counts.missing_files += 1
            written = next(all_rows, None)
        if written is None or written.position != position:
            counts.new_files += 1
            yield file
            continue
        following = next(all_rows, None)
        may_lack_pages = written.lacks_pages or (
            was_interrupted and following is None and written.last_page > 0
        )
        written = following
        if may_lack_pages or change_finder.has_changed(file):
            counts.changed_files += 1
            yield file
    counts.missing_files += (written is not None) + sum(1 for _ in all_rows)


class _WrittenFile(NamedTuple):
    """What rows there are of one file."""

    position: Position
    last_page: int
    """The last page that has a row; 0 if the file has one row."""
    lacks_pages: bool


def _list_files(rows: Iterable[Prediction], positions: Positions) -> Iterator[_WrittenFile]:
    """Yield the files that have rows, in order."""
    places = (positions.of_row(row) for row in rows)
    for position, file_rows in groupby(places, lambda place: place[0]):
        pages = {page for _, page in file_rows}
        yield _WrittenFile(position, max(pages), max(pages) > 0 and len(pages) < max(pages))


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
        since = self._last_read.started - _TIME_STEP_SECONDS
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
    is_edited: bool,
    counts: UpdateCounts,
) -> Iterator[CsvRow]:
    """Yield the rows of a CSV with new ones in their places, those of the same files in the place of the old.

    The rows that change are counted. `columns` are those that people have added; what they wrote there stays
    beside the new row. A file that is read as before keeps its row as it is. Of an output that `is_edited`
    nobody knows whether the file has changed or a person has corrected the row: so a row that changes is
    `review`, and its note says what stood there before.
    """
    positions = Positions(roots)
    merge = _FileMerge(columns, is_edited, counts)
    old_files = groupby(rows, lambda row: positions.of_row(row.prediction)[0])
    new_files = groupby(new_rows, lambda row: positions.of_row(row)[0])
    new = next(new_files, None)
    for position, old_rows in old_files:
        while new is not None and new[0] < position:
            yield from merge.add(new[1])
            new = next(new_files, None)
        if new is not None and new[0] == position:
            yield from merge.replace(old_rows, new[1])
            new = next(new_files, None)
        else:
            yield from old_rows
    while new is not None:
        yield from merge.add(new[1])
        new = next(new_files, None)


class _FileMerge:
    """Puts the new rows of one file in the place of its old ones."""

    def __init__(self, columns: Sequence[str], is_edited: bool, counts: UpdateCounts) -> None:
        self._no_cells = ("",) * len(columns)
        self._is_edited = is_edited or bool(columns)
        self._counts = counts

    def add(self, new_rows: Iterable[Prediction]) -> Iterator[CsvRow]:
        """Yield the rows of a file that had none."""
        return (CsvRow(row, extra_cells=self._no_cells) for row in new_rows)

    def replace(self, old_rows: Iterable[CsvRow], new_rows: Iterable[Prediction]) -> list[CsvRow]:
        """Return the new rows, and those of pages that are gone if people have written beside them."""
        old: dict[str, list[CsvRow]] = {}
        for row in old_rows:
            old.setdefault(row.prediction.path, []).append(row)
        merged: list[CsvRow] = []
        for new_row in new_rows:
            same = old.pop(new_row.path, [])
            merged += [self._replace_row(row, new_row) for row in same]
            if not same:
                self._counts.changed_rows += 1
                merged += self.add([new_row])
        gone = [row for rows in old.values() for row in rows]
        self._counts.changed_rows += len(gone)
        merged += [_mark_gone(row) for row in gone if any(row.extra_cells)]
        return merged

    def _replace_row(self, old_row: CsvRow, new_row: Prediction) -> CsvRow:
        old = old_row.prediction
        if _reads_as(old, new_row):
            return old_row
        self._counts.changed_rows += 1
        if self._is_edited:
            value = old.number or ("no digit" if old.digit is None else str(old.digit))
            before = BEFORE_NOTE + ", ".join(filter(None, (value, old.status.value, old.note)))
            new_row = _mark_for_review(new_row, before)
        return CsvRow(new_row, extra_cells=old_row.extra_cells)


def _mark_gone(row: CsvRow) -> CsvRow:
    return CsvRow(_mark_for_review(row.prediction, GONE_NOTE), extra_cells=row.extra_cells)


def _mark_for_review(row: Prediction, note: str) -> Prediction:
    """Return a row with one more note, and a person should look at it if it has a digit."""
    notes = "; ".join(filter(None, (row.note, note)))
    status = Status.REVIEW if row.status is Status.OK else row.status
    return dataclasses.replace(row, status=status, note=notes)


def _reads_as(old: Prediction, new: Prediction) -> bool:
    """Tell whether rows say the same, but for decimals that a CSV does not have, and for BEFORE_NOTE."""
    note, separator, _ = f"; {old.note}".partition(f"; {BEFORE_NOTE}")
    is_same_status = old.status is new.status or (separator and new.status is Status.OK)
    return bool(
        is_same_status
        and (old.digit, old.number, note.removeprefix("; ")) == (new.digit, new.number, new.note)
        and _round(old.confidence) == _round(new.confidence)
        and [*map(_round, old.probabilities or ())] == [*map(_round, new.probabilities or ())]
        and [*map(_round, old.digit_confidences or ())] == [*map(_round, new.digit_confidences or ())]
    )


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
