"""Find image files, lazily and in one stable order.

Standard library only: the main process of a scan imports neither NumPy nor an image library.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digitscan.errors import ImageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path
from digitscan.imaging.formats import detect_format, has_image_suffix
from digitscan.prediction import NOT_UTF8, ImageFile, path_to_text
from digitscan.system.files import describe_os_error, open_regular_file

_RUN = 16_384


_SEPARATOR = os.fsencode(os.sep)


@dataclass
class WalkStats:
    """What a walk has met so far; grows while `find_images` is consumed."""

    images: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable_folders: list[str] = field(default_factory=list)


def check_paths(paths: Sequence[Path]) -> None:
    """Raise UsageError for the first path that does not exist (a dead link exists: it has a row)."""
    for path in paths:
        try:
            path.lstat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else describe_os_error(error)
            raise UsageError(f"{str(path)!r}: {reason}. Name a folder or an image that is there.") from None


def find_images(
    paths: Sequence[Path], stats: WalkStats, exclude: Collection[Path] = ()
) -> Iterator[ImageFile]:
    """Yield the files that get a row, lazily, holding one folder's names at a time.

    A named path that is no folder is always yielded. In folders: a file whose suffix or first bytes
    are an image's; everything else is counted in `tally`. Paths come in the order given, a folder's
    files before its subfolders, sorted by bytes. Links to folders are not followed. `exclude` holds
    files that are never yielded from a folder: our own outputs.
    """
    outputs = {os.path.realpath(os.fsencode(path)) for path in exclude}
    for path in paths:
        shown = os.fsencode(path.as_posix())
        if not os.path.isdir(path):
            stats.images += 1
            yield _image_file(os.fsencode(path), shown)
        elif len(paths) == 1:
            yield from _walk(os.fsencode(path), b"", stats, outputs)
        else:
            yield from _walk(os.fsencode(path), shown.rstrip(b"/") + b"/", stats, outputs)


def count_images(paths: Sequence[Path]) -> int:
    """Count quickly what `find_images` will yield, by suffix alone: for the progress bar."""
    count = 0
    for path in paths:
        if not os.path.isdir(path):
            count += 1
            continue
        waiting = [os.fsencode(path)]
        while waiting:
            folder = _with_separator(waiting.pop())
            files, folders, _ = _names_in(folder, WalkStats())
            count += sum(map(has_image_suffix, files.in_order()))
            waiting.extend(folder + name for name in folders)
    return count


def _walk(root: bytes, prefix: bytes, stats: WalkStats, outputs: set[bytes]) -> Iterator[ImageFile]:
    waiting = [(root, prefix)]
    while waiting:
        path, shown = waiting.pop()
        folder = _with_separator(path)
        files, folders, complete = _names_in(folder, stats)
        if not complete:
            stats.unreadable_folders.append(path_to_text(shown or b"./")[0])
        real = _with_separator(os.path.realpath(folder)) if outputs else b""
        for name in files.in_order():
            if outputs and real + name in outputs:
                continue
            if not has_image_suffix(name) and not _starts_like_an_image(folder + name):
                stats.skipped["no image"] += 1
                continue
            stats.images += 1
            yield _image_file(folder + name, shown + name)
        waiting.extend((folder + name, shown + name + b"/") for name in sorted(folders, reverse=True))


class _Names:
    """Names of one folder, which may be a million: packed in sorted runs, a fifth of a list's memory."""

    def __init__(self) -> None:
        self._runs: list[bytes] = []
        self._last: list[bytes] = []

    def append(self, name: bytes) -> None:
        self._last.append(name)
        if len(self._last) == _RUN:
            self._pack()

    def in_order(self) -> Iterator[bytes]:
        self._last.sort()
        if not self._runs:
            return iter(self._last)
        return heapq.merge(*map(_unpacked, self._runs), self._last)

    def _pack(self) -> None:
        self._last.sort()
        self._runs.append(b"/".join(self._last))  # no name holds a slash
        self._last = []


def _unpacked(run: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(run):
        end = run.find(b"/", start)
        end = len(run) if end < 0 else end
        yield run[start:end]
        start = end + 1


def _names_in(folder: bytes, stats: WalkStats) -> tuple[_Names, list[bytes], bool]:
    """Names of the folder's files and subfolders, and whether it could be read to the end."""
    files = _Names()
    folders: list[bytes] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    # An entry's own is_dir raises where a link leads in a circle or through a closed folder.
                    if os.path.isdir(folder + entry.name):
                        stats.skipped["link to a folder"] += 1
                    else:
                        files.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    stats.skipped["pipe, socket or device"] += 1
    except OSError:
        return files, folders, False
    return files, folders, True


def _image_file(path: bytes, name: bytes) -> ImageFile:
    shown, exact = path_to_text(name)
    return ImageFile(os.fsdecode(path), shown, () if exact else (NOT_UTF8,))


def _with_separator(folder: bytes) -> bytes:
    return folder if folder.endswith((b"/", _SEPARATOR)) else folder + _SEPARATOR


def _starts_like_an_image(path: bytes) -> bool:
    try:
        with open_regular_file(path) as file:
            return detect_format(file.read(32)) is not None
    except (OSError, ImageError):
        return False
