"""A lock on an open file, which the system frees when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from digitscan.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def lock_file(file: IO[bytes]) -> bool:
        """Take the lock for as long as the file is open; tell whether nobody else has it."""
        position = file.tell()
        try:
            # Far beyond any row, because a locked byte cannot be read by others there.
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows alone
        except OSError:
            return False
        finally:
            file.seek(position)
        return True

else:

    def lock_file(file: IO[bytes]) -> bool:
        """Take the lock for as long as the file is open; tell whether nobody else has it."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network folders know no locks: better without than not at all
            return True
        return True


def write_atomic(path: Path, data: bytes, before: Callable[[], object] = lambda: None) -> None:
    """Write beside, flush to the disk, call `before`, replace: never half a file under the name.

    Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        before()
        beside.replace(path)
        _keep_names(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _keep_names(folder: Path) -> None:
    """Make what was renamed safe against a loss of power, where the system can."""
    with contextlib.suppress(OSError, AttributeError):  # Windows opens no folder
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


# Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular_file(path: str | bytes) -> io.FileIO:
    """Open a regular file for reading; a pipe or device is refused (ImageError) without waiting for it."""
    number, _ = _open_descriptor(path)
    return io.FileIO(number, "rb")


def read_regular_file(path: str | bytes, most: int) -> bytes | io.FileIO:
    """Return what a regular file holds; if that is more than `most` bytes, the open file instead.

    In half the time of `FileIO.read`, which asks the system thrice as much. Raises as `open_regular_file`.
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
    with open_regular_file(path) as file:  # it is being written, or its system reads in small parts
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


def describe_os_error(error: OSError) -> str:
    """Return a system error as a short phrase that needs no knowledge of errno."""
    if isinstance(error, FileNotFoundError):
        return "no longer there"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be opened: {error.strerror or error}"
