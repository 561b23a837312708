"""Find image files, lazily and in one stable order.

Standard library only: the main process of a scan imports neither NumPy nor an image library.
"""

from __future__ import annotations

import heapq
import io
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digitscan.errors import ImageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

NOT_UTF8 = "name is not UTF-8"
"""The note of a file whose name is shown with escapes."""

_SUFFIXES = frozenset(
    b"png apng jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp "
    b"heic heif avif jxl jp2 j2k ppm pgm pbm pnm tga ico psd svg dng cr2 cr3 nef arw".split()
)
_RUN = 16_384
_SEPARATOR = os.fsencode(os.sep)
# Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Found:
    """One file that will have a row.

    path: what to open. name: the row's `path` cell. notes: what to say about the name itself.
    """

    path: str
    name: str
    notes: tuple[str, ...] = ()


@dataclass
class Tally:
    """What a walk has met so far; grows while `find_images` is consumed."""

    images: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    closed_folders: list[str] = field(default_factory=list)


def check_paths(paths: Sequence[Path]) -> None:
    """Raise UsageError for the first path that does not exist (a dead link exists: it has a row)."""
    for path in paths:
        try:
            path.lstat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else words_of(error)
            raise UsageError(f"{str(path)!r}: {reason}. Name a folder or an image that is there.") from None


def find_images(paths: Sequence[Path], tally: Tally, exclude: Collection[Path] = ()) -> Iterator[Found]:
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
            tally.images += 1
            yield _found(os.fsencode(path), shown)
        elif len(paths) == 1:
            yield from _walk(os.fsencode(path), b"", tally, outputs)
        else:
            yield from _walk(os.fsencode(path), shown.rstrip(b"/") + b"/", tally, outputs)


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
            files, folders, _ = _names_in(folder, Tally())
            count += sum(map(_has_image_suffix, files.in_order()))
            waiting.extend(folder + name for name in folders)
    return count


def _walk(root: bytes, prefix: bytes, tally: Tally, outputs: set[bytes]) -> Iterator[Found]:
    waiting = [(root, prefix)]
    while waiting:
        path, shown = waiting.pop()
        folder = _with_separator(path)
        files, folders, complete = _names_in(folder, tally)
        if not complete:
            tally.closed_folders.append(shown_name(shown or b"./")[0])
        real = _with_separator(os.path.realpath(folder)) if outputs else b""
        for name in files.in_order():
            if outputs and real + name in outputs:
                continue
            if not _has_image_suffix(name) and not _starts_like_an_image(folder + name):
                tally.skipped["no image"] += 1
                continue
            tally.images += 1
            yield _found(folder + name, shown + name)
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


def _names_in(folder: bytes, tally: Tally) -> tuple[_Names, list[bytes], bool]:
    """Names of the folder's files and subfolders, and whether it could be read to the end."""
    files = _Names()
    folders: list[bytes] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    # An entry's own is_dir raises where a link leads in a circle or through a closed folder.
                    if os.path.isdir(folder + entry.name):
                        tally.skipped["link to a folder"] += 1
                    else:
                        files.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    tally.skipped["pipe, socket or device"] += 1
    except OSError:
        return files, folders, False
    return files, folders, True


def _found(path: bytes, name: bytes) -> Found:
    shown, exact = shown_name(name)
    return Found(os.fsdecode(path), shown, () if exact else (NOT_UTF8,))


def shown_name(name: bytes) -> tuple[str, bool]:
    r"""Return a name as text, and whether it was UTF-8; if not, bad bytes become \xNN and \ is doubled."""
    try:
        return name.decode(), True
    except UnicodeDecodeError:
        return name.replace(b"\\", b"\\\\").decode(errors="backslashreplace"), False


def _with_separator(folder: bytes) -> bytes:
    return folder if folder.endswith((b"/", _SEPARATOR)) else folder + _SEPARATOR


def _has_image_suffix(name: bytes) -> bool:
    return name.rpartition(b".")[2].lower() in _SUFFIXES


def _starts_like_an_image(path: bytes) -> bool:
    try:
        with open_regular(path) as file:
            return format_of(file.read(32)) is not None
    except (OSError, ImageError):
        return False


def format_of(head: bytes) -> str | None:
    """Return the format that a file's first 32 bytes announce, by Pillow's name; None if no image's."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and len(head) >= 26:
        return "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"}:
        return "HEIC"
    if head[4:8] == b"ftyp" and head[8:12] in {b"avif", b"avis"}:
        return "AVIF"
    return None


def open_regular(path: str | bytes) -> io.FileIO:
    """Open a regular file for reading; a pipe or device is refused (ImageError) without waiting for it."""
    number, _ = _open_descriptor(path)
    return io.FileIO(number, "rb")


def read_regular(path: str | bytes, most: int) -> bytes | io.FileIO:
    """Return what a regular file holds; if that is more than `most` bytes, the open file instead.

    In half the time of `FileIO.read`, which asks the system thrice as much. Raises as `open_regular`.
    """
    number, size = _open_descriptor(path)
    if size > most:
        return io.FileIO(number, "rb")
    try:
        data = os.read(number, size + 1)
    finally:
        os.close(number)
    if len(data) == size:
        return data
    with open_regular(path) as file:  # it is being written, or its system reads in small parts
        return file.read(most)


def _open_descriptor(path: str | bytes) -> tuple[int, int]:
    """Return the descriptor of a regular file and its size."""
    number = os.open(path, _OPEN_FLAGS)
    try:
        state = os.fstat(number)
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe, socket or device"
            raise ImageError(f"not a file: {kind}")
    except BaseException:
        os.close(number)
        raise
    return number, state.st_size


def words_of(error: OSError) -> str:
    """Return a system error as a short phrase that needs no knowledge of errno."""
    if isinstance(error, FileNotFoundError):
        return "no longer there"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be opened: {error.strerror or error}"
