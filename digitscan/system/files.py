"""Locks, atomic writes, and opening nothing but regular files.

A scan locks its output. Models, manifests and checkpoints are written atomically. Images are opened only if
they are regular files, because a named pipe or a device could block a scan or never end.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING

from digitscan.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt


def lock_file(file: IO[bytes]) -> bool:
    """Return whether this process now has the exclusive lock on an open file; never wait for it.

    False means that another process has it. The system frees the lock when the file is closed or the process
    ends, even if it is killed, so no stale lock remains.
    """
    return _lock_with_fcntl(file) if os.name == "posix" else _lock_with_msvcrt(file)


def _lock_with_fcntl(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems support no locks. Working without one is better than not at all.
        return True
    return True


def _lock_with_msvcrt(file: IO[bytes]) -> bool:
    position = file.tell()
    try:
        # Other processes cannot read a locked byte on Windows, so lock one far behind the contents.
        file.seek(1 << 62)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
    except OSError:
        return False
    finally:
        file.seek(position)
    return True


def write_atomic(
    path: Path, data: bytes, before_replace: Callable[[], object] = lambda: None, mode: int = 0o666
) -> None:
    """Replace a file, or create it, so that `path` never names a partly written one.

    - The data is written to a temporary file in the same folder, so a failed or interrupted write leaves the
      old file as it was.
    - The temporary file is flushed to the disk before it gets the name, so a power loss cannot leave an empty
      file there.
    - `before_replace` is called once the new data is safe. If it raises, the old file stays.
    - The temporary file is renamed, and the folder is flushed, so a power loss does not undo the rename.
    - The file has the permissions `mode`, without those that the umask takes away, from its first byte on.

    Raises OSError, and whatever `before_replace` raises; the temporary file is then deleted.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()  # left by a killed process that had the same pid
        with open(temporary, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        before_replace()
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power loss, where possible."""
    with contextlib.suppress(OSError, AttributeError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Without O_NONBLOCK, opening a named pipe waits for a writer, perhaps forever.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular_file(path: str | bytes, dir_fd: int | None = None) -> io.FileIO:
    """Return a regular file opened for reading, unbuffered.

    `dir_fd` is an open folder in which the path begins, instead of the current folder.

    Raises ImageError if the path is a folder, pipe, socket or device, without waiting for it, and OSError.
    """
    descriptor, _ = _open_descriptor(path, dir_fd)
    return io.FileIO(descriptor, "rb")


def read_regular_file(path: str | bytes, max_bytes: int, dir_fd: int | None = None) -> bytes | io.FileIO:
    """Return the contents of a regular file, or the open file if it is larger than `max_bytes`.

    Of a file that grows meanwhile, more may be returned. One `os.read` of the known size takes half the time
    of `FileIO.read`, which makes three times as many system calls. Takes `dir_fd` and raises ImageError and
    OSError as `open_regular_file` does.
    """
    descriptor, size = _open_descriptor(path, dir_fd)
    if size > max_bytes:
        return io.FileIO(descriptor, "rb")
    try:
        data = os.read(descriptor, size + 1)
        # Network file systems may return less than was asked for, and the file may be growing.
        while len(data) != size and len(data) <= max_bytes and (more := os.read(descriptor, max_bytes)):
            data += more
    finally:
        os.close(descriptor)
    return data


def _open_descriptor(path: str | bytes, dir_fd: int | None) -> tuple[int, int]:
    """Return a descriptor of a regular file, which the caller must close, and the file's size in bytes."""
    descriptor = os.open(path, _OPEN_FLAGS, dir_fd=dir_fd)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ImageError(f"not a file: {kind}")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def describe_os_error(error: OSError) -> str:
    """Return a short description of an error in opening a file, for readers who do not know errno."""
    if isinstance(error, FileNotFoundError):
        return "no longer there"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be opened: {error.strerror or error}"
