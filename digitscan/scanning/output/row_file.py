"""The file that holds the rows: opened so that nothing is destroyed, and told from what others put there."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputError
from digitscan.scanning.output.config import DEFAULT_NAME
from digitscan.system.stdio import BlockingWriter

_BYTES_PER_COPY = 1 << 20


def check_can_be_row_file(path: Path) -> None:
    """Raise OutputError if a path is a folder, a pipe, a socket or a device, or its folder is missing."""
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: name a file in it, such as {path / DEFAULT_NAME}")
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if os.path.exists(path) and not os.path.isfile(path):
        raise _not_regular_error(path)


def _not_regular_error(path: Path) -> OutputError:
    return OutputError(
        f"{path} is a pipe, socket or device: write the rows to stdout (-o -) and redirect it there"
    )


def open_row_file(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file, or create it, without emptying it: another scan may have it, as its lock will tell.

    Rows are appended: if another program shortens the file, they do not come behind a hole of NUL bytes. A
    named pipe is not waited for. Raises OSError.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return BlockingWriter(os.open(path, flags, 0o666), "rb+")


def reopen_row_file(path: Path) -> BinaryIO:
    """Open a file that exists. Raises OutputError if it has become a pipe, socket or device, and OSError."""
    file = open_row_file(path)
    if not is_regular(file):
        file.close()
        raise _not_regular_error(path)
    return file


def create_first_free(paths: Iterable[Path]) -> tuple[Path, BinaryIO]:
    """Create and open the first of the files that does not exist yet. Raises OSError."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            return path, open_row_file(path, os.O_EXCL)
    raise AssertionError("the paths never end")


def numbered_paths(first: Path) -> Iterator[Path]:
    """Yield a path, then the same with `-2`, `-3`, ... before its suffix, without an end."""
    yield first
    for suffix in itertools.count(2):
        yield first.with_stem(f"{first.stem}-{suffix}")


def backup_paths(output: Path) -> Iterator[Path]:
    """Yield the names for a copy of an output that is about to be replaced, without an end."""
    first = output.with_name(f"{output.name}.bak")
    yield first
    for suffix in itertools.count(2):
        yield first.with_name(f"{first.name}-{suffix}")


def copy_beside(file: BinaryIO, paths: Iterable[Path]) -> Path:
    """Copy an open file to the first of the paths that is free, and return that; flushed to the disk.

    If it cannot be copied whole, the copy is removed. Raises OSError.
    """
    path, copy = create_first_free(paths)
    try:
        with copy:
            copy_content(file, copy)
            copy_permissions(file, copy)
            os.fsync(copy.fileno())
    except BaseException:
        path.unlink()
        raise
    return path


def copy_content(source: BinaryIO, target: BinaryIO) -> None:
    """Append all that an open file holds to another one. Raises OSError, also if only a part has space."""
    source.seek(0)
    while data := memoryview(source.read(_BYTES_PER_COPY)):
        while data:
            data = data[target.write(data) :]


def is_regular(file: BinaryIO) -> bool:
    """Return whether an open file is no pipe, socket or device."""
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the one that the path names now, as far as the system tells."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # such as a folder whose permissions were taken away
        return True


def describe_state(file: BinaryIO) -> tuple[int, int]:
    """Return what shows whether an open file was written to: its size and the time of the last change."""
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def ends_in_newline(file: BinaryIO) -> bool:
    """Tell whether the last row is whole; after an error, a part of one may have been written."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - 1))
    return size == 0 or file.read(1) == b"\n"


def copy_permissions(source: BinaryIO, target: BinaryIO) -> None:
    """Let the same people read and write a new file, as far as the system allows it."""
    state = os.fstat(source.fileno())
    with contextlib.suppress(OSError, AttributeError):  # only root may give a file away
        os.fchown(target.fileno(), state.st_uid, state.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(target.fileno(), stat.S_IMODE(state.st_mode))
