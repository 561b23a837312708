"""Going on with a scan that was cut short: what must agree, what its CSV holds, what is left to read.

The CSV's last whole record is the truth about how far a scan came. Beside it, `FILE.json`, written before
the first row, holds what the rows depend on: a scan goes on only with the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from digitscan.prediction import NOT_UTF8, ImageFile, Prediction, text_to_path

Key = tuple[tuple[int, bytes], ...]


class RemainingFiles:
    """What is left to read, in order: the files found, without those that have a row.

    `appeared` counts the files that came into the folder before the point the scan had reached: they are
    not read, because their rows would stand out of order. `example` is the first of them.
    """

    def __init__(self, found: Iterable[ImageFile], rows: Iterable[Prediction], roots: Sequence[str]) -> None:
        """Take files and rows, both in a scan's order; `roots` are those of the record."""
        self.appeared = 0
        self.example = ""
        self._image_file, self._rows, self._roots = found, rows, roots

    def __iter__(self) -> Iterator[ImageFile]:
        """Yield the files to read; consumes all rows first."""
        place_of_row, place_of_file = _Places(self._roots), _Places(self._roots)
        rows = iter(self._rows)

        def next_place() -> tuple[int, Key] | None:
            row = next(rows, None)
            if row is None:
                return None
            return place_of_row.of(text_to_path(row.path, NOT_UTF8 not in row.note))

        found = iter(self._image_file)
        waiting = next_place()
        if waiting is None:
            yield from found
        for file in found:
            place = place_of_file.of(text_to_path(file.name, NOT_UTF8 not in file.notes))
            while waiting is not None and waiting < place:
                waiting = next_place()
            if waiting is None:
                yield file
            elif waiting == place:
                waiting = next_place()
            else:
                self.appeared += 1
                self.example = self.example or file.name
        while waiting is not None:
            waiting = next_place()


class _Places:
    """The place of each name in a scan's order: which of the paths given, and where below it."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [os.fsencode(root).rstrip(b"/") for root in roots]
        self._number = 0
        self._before: Key | None = None

    def of(self, name: bytes) -> tuple[int, Key]:
        key = _key(name)
        if len(self._roots) < 2:
            return 0, key
        # Names come in the order of the roots: one that does not fit, or goes back, is of a later root.
        while self._number < len(self._roots) - 1 and not self._fits(name, key):
            self._number += 1
            self._before = None
        self._before = key
        return self._number, key

    def _fits(self, name: bytes, key: Key) -> bool:
        root = self._roots[self._number]
        below = name == root or name.startswith(root + b"/")
        return below and (self._before is None or self._before < key)


def _key(name: bytes) -> Key:
    """Return what sorts as a walk does: a folder's files before its subfolders, each by its bytes."""
    *folders, file = name.split(b"/")
    return (*((1, folder) for folder in folders), (0, file))
