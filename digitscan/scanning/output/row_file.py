"""The file that holds the rows: opened so that nothing is destroyed, and told from what others put there."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.system.stdio import BlockingWriter

RESCUE_SUFFIX = ".digitscan-rescued"


def open_row_file(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file, or create it, without emptying it: another scan may have it, as its lock will tell.

    Rows are appended: if another program shortens the file, they do not come behind a hole of NUL bytes. A
    named pipe is not waited for. Raises OSError.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return BlockingWriter(os.open(path, flags, 0o666), "rb+")


def create_first_free(paths: Iterable[Path]) -> tuple[Path, BinaryIO]:
    """Create and open the first of the files that does not exist yet. Raises OSError."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            return path, open_row_file(path, os.O_EXCL)
    raise AssertionError("the paths never end")


def rescue_paths(output: Path) -> Iterator[Path]:
    """Yield the names for rows that cannot be in the output, in the order in which they are tried."""
    first = output.with_name(output.name + RESCUE_SUFFIX)
    yield first
    for suffix in itertools.count(2):
        yield first.with_name(f"{first.name}-{suffix}")


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


def copy_permissions(source: BinaryIO, target: BinaryIO) -> None:
    """Let the same people read and write a new file, as far as the system allows it."""
    state = os.fstat(source.fileno())
    with contextlib.suppress(OSError, AttributeError):  # only root may give a file away
        os.fchown(target.fileno(), state.st_uid, state.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(target.fileno(), stat.S_IMODE(state.st_mode))
