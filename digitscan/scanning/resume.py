"""Continue a scan that was interrupted: which of the files found have a row already.

The last whole row of the CSV says how far the scan came. Rows and files come in the same order, so one pass
over both, like the merge of two sorted lists, finds the files that are left, in constant memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from digitscan.prediction import NOT_UTF8, ImageFile, Prediction, name_to_path

SortKey = tuple[tuple[int, bytes], ...]
Position = tuple[int, SortKey]
"""Which of the paths given, and where below it."""


class RemainingFiles:
    """The files that are left to read, in order: those found, without those that have a row.

    A file that was added to a folder after the scan had passed its place gets no row, because its row would
    be out of order. Such files are counted in `missed_count`; `missed_example` is the name of the first.
    """

    def __init__(self, files: Iterable[ImageFile], rows: Iterable[Prediction], roots: Sequence[str]) -> None:
        """Take the files found and the rows written, both in a scan's order; `roots` are the manifest's."""
        self.missed_count = 0
        self.missed_example = ""
        self._files, self._rows, self._roots = files, rows, roots

    def __iter__(self) -> Iterator[ImageFile]:
        """Yield the files to read. All rows are consumed, also those of files that are gone.

        The last row may be that of a page: then its file has more, and comes with its next page.
        """
        positions = Positions(self._roots)
        row_positions = _row_positions(self._rows, positions)
        files = iter(self._files)
        next_row = next(row_positions, None)
        if next_row is None:
            yield from files
        for file in files:
            position = positions.of_file(file)
            while next_row is not None and next_row.position < position:
                next_row = next(row_positions, None)
            if next_row is None:
                yield file
            elif next_row.position == position:
                last_page = next_row.last_page
                next_row = next(row_positions, None)
                if next_row is None and last_page:
                    yield file._replace(first_page=last_page + 1)
            else:
                self.missed_count += 1
                self.missed_example = self.missed_example or file.name
        for _ in row_positions:
            pass


class _FileRows(NamedTuple):
    """The rows of one file."""

    position: Position
    last_page: int
    """The last page that has a row; 0 if the file has one row."""


def _row_positions(rows: Iterable[Prediction], positions: Positions) -> Iterator[_FileRows]:
    """Yield the files that have rows, in order. Each is known when the first row of the next one is there."""
    previous_path, file = b"", None
    for row in rows:
        path, page = name_to_path(row.path, NOT_UTF8 not in row.note)
        if file and page > file.last_page > 0 and path == previous_path:
            file = file._replace(last_page=page)
            continue
        if file:
            yield file
        previous_path, file = path, _FileRows(positions.of(path), page)
    if file:
        yield file


class Positions:
    """The positions of files in a scan's order.

    A path is below the longest of the roots that it begins with: what a folder holds of another root is left
    to that one's turn.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        """Take the roots as the manifest has them."""
        self._root_indexes = {os.fsencode(root).rstrip(b"/"): index for index, root in enumerate(roots)}

    def of_file(self, file: ImageFile) -> Position:
        """Return the position of a file that was found."""
        return self.of(name_to_path(file.name, NOT_UTF8 not in file.notes)[0])

    def of_row(self, row: Prediction) -> tuple[Position, int]:
        """Return the position of a row's file, and which of its pages the row is of, 0 if of the file."""
        path, page = name_to_path(row.path, NOT_UTF8 not in row.note)
        return self.of(path), page

    def of(self, path: bytes) -> Position:
        """Return the position of a path."""
        root = path
        while root and root not in self._root_indexes:
            root = root.rpartition(b"/")[0]
        # One folder alone has no roots. A path that a person has changed, or that is no longer scanned, comes
        # before all others: what follows it is still to be read.
        return self._root_indexes.get(root, -1), _sort_key(path)


def _sort_key(path: bytes) -> SortKey:
    """Return what sorts as `find_images` walks: a folder's files before its subfolders, both by bytes."""
    *folders, file = path.split(b"/")
    return (*((1, folder) for folder in folders), (0, file))
