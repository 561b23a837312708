"""Locks, atomic writes, and opening nothing but regular files.

A scan locks its output. Models, manifests and checkpoints are written atomically. Images, manifests and CSVs
are opened only if they are regular files, because a named pipe or a device could block a scan or never end.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

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

    `before_replace` is called once the new data is safe on the disk. If it raises, the old file stays. The
    new file has the permissions `mode`, without those that the umask takes away. Raises OSError, and whatever
    `before_replace` raises; the new data is then deleted.
    """
    replacement = Replacement(path, mode)
    try:
        with io.BufferedWriter(replacement.file) as file:
            file.write(data)
            file.flush()
            replacement.prepare()
            before_replace()
            replacement.replace()
    except BaseException:
        replacement.discard()
        raise


_OWN_DESCRIPTORS = "/proc/self/fd"


class Replacement:
    """A new file that takes the place of another one, or of none, when it is whole.

    Where the system can do it, the new file has no name until then, so that a killed process leaves nothing.
    Elsewhere it has a name that nobody can foresee. An existing file is never opened for it, nor a link
    followed: somebody who can write to the folder could let it lead to any file of the user's.
    """

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        """Create the file, empty, in the folder of `path`. Raises OSError."""
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        self._has_name = False
        self.file = io.FileIO(self._create(mode), "rb+")
        """The file, unbuffered; it stays open."""

    def _create(self, mode: int) -> int:
        if hasattr(os, "O_TMPFILE") and os.path.isdir(_OWN_DESCRIPTORS):
            # Network file systems and old kernels have no such files.
            with contextlib.suppress(OSError):
                return os.open(self._path.parent, os.O_TMPFILE | os.O_RDWR, mode)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self._temporary, flags, mode)
        self._has_name = True
        return descriptor

    def prepare(self) -> None:
        """Flush the file to the disk, and let it have a name, so that nothing but `replace` is left to do.

        Otherwise a power loss could leave an empty file. Raises OSError.
        """
        os.fsync(self.file.fileno())
        if not self._has_name:
            _link_descriptor(self.file.fileno(), self._temporary)
            self._has_name = True

    def replace(self, path: Path | None = None) -> None:
        """Let the file take its place, or that of another path in its folder. Raises OSError.

        The folder is flushed, so that a power loss does not undo it.
        """
        if os.name == "nt":
            self.file.close()  # Windows does not rename open files
        self._temporary.replace(path or self._path)
        self._has_name = False
        _sync_folder(self._path.parent)

    def discard(self) -> None:
        """Close the file, and delete it unless it has taken its place."""
        self.file.close()
        if self._has_name:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


def _link_descriptor(descriptor: int, path: Path) -> None:
    """Give a name to an open file that has none."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # With a folder's descriptor; otherwise Python (3.11) would link the link in /proc itself.
        os.link(f"{_OWN_DESCRIPTORS}/{descriptor}", path.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


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
_READ_BYTES = 1 << 20


class RegularFile(io.FileIO):
    """A regular file opened for reading, unbuffered; a read is short only at the end of the file.

    Network and FUSE file systems may give less than was asked for, and none where the file is non-blocking.
    """

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, or all that are left. Raises OSError."""
        return _read(self.fileno(), None if size is None or size < 0 else size)

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes; return how many. Raises OSError."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def open_regular_file(path: str | bytes, follow_links: bool = True, dir_fd: int | None = None) -> RegularFile:
    """Return a regular file opened for reading.

    `dir_fd` is an open folder in which the path begins, instead of the current folder.

    Raises ImageError if the path is a folder, pipe, socket or device, without waiting for it, and OSError.
    """
    descriptor, _ = _open_descriptor(path, dir_fd, 0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    return RegularFile(descriptor, "rb")


def read_regular_file(path: str | bytes, max_bytes: int, dir_fd: int | None = None) -> bytes | RegularFile:
    """Return the contents of a regular file, or the open file if it is larger than `max_bytes`.

    One `os.read` of the known size takes half the time of `FileIO.read`, which makes three times as many
    system calls. Takes `dir_fd` and raises ImageError and OSError as `open_regular_file` does.
    """
    descriptor, size = _open_descriptor(path, dir_fd)
    if size > max_bytes:
        return RegularFile(descriptor, "rb")
    try:
        data = _read_some(descriptor, size + 1)
        if len(data) == size:
            return data
        # The file is being written, or its file system gives less than was asked for.
        return data + _read(descriptor, max(0, max_bytes - len(data)))
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int | None) -> bytes:
    """Return `size` bytes, or all if it is None; fewer only at the end of the file."""
    parts: list[bytes] = []
    missing = size
    while missing is None or missing > 0:
        part = _read_some(descriptor, _READ_BYTES if missing is None else missing)
        if not part:
            break
        parts.append(part)
        missing = None if missing is None else missing - len(part)
    return b"".join(parts)


def _read_some(descriptor: int, size: int) -> bytes:
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        # The file was opened non-blocking only to be opened at once.
        os.set_blocking(descriptor, True)
        return os.read(descriptor, size)


def _open_descriptor(path: str | bytes, dir_fd: int | None, flags: int = 0) -> tuple[int, int]:
    """Return a descriptor of a regular file, which the caller must close, and the file's size in bytes."""
    descriptor = os.open(path, _OPEN_FLAGS | flags, dir_fd=dir_fd)
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
