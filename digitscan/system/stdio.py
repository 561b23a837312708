"""The standard streams, as file descriptors 0, 1 and 2.

Native libraries write to descriptors 1 and 2 directly, past Python's `sys.stdout` and `sys.stderr`. To keep
their messages out of a CSV on stdout, the descriptors themselves are redirected.

Another process that has the same pipe or terminal may have made it non-blocking. Python's own streams then
lose what does not fit at once. The streams of this module wait instead.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_MAX_LINKS = 40
"""Links in a row, as many as the system itself follows."""
_POLL_MILLISECONDS = 1000
_RETRY_SECONDS = 0.001


def open_missing_streams() -> None:
    """Open the null device for each standard stream that the caller has closed.

    Otherwise the next file that is opened gets that descriptor, and whatever is printed is written into it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if descriptor == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # stays open until the process ends


class BlockingWriter(io.FileIO):
    """A file opened for writing whose `write` waits, where the descriptor is non-blocking, for space."""

    def write(self, data: Any) -> int:
        """Write some of the data, at least a byte; return how many. Raises OSError."""
        while (written := super().write(data)) is None:
            _wait_for_space(self.fileno())
        return written


def _wait_for_space(descriptor: int) -> None:
    """Wait until a write may succeed. Raises BlockingIOError for a regular file, which nothing empties."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
    # A socket may be said to be ready when it takes nothing yet.
    time.sleep(_RETRY_SECONDS)


class _WaitingWriter(io.RawIOBase):
    """A raw stream on top of another one; its `write` waits as that of BlockingWriter does."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        while (written := self._raw.write(data)) is None:
            _wait_for_space(self.fileno())
        return written


class _LossyWriter(_WaitingWriter):
    """A raw stream that drops what cannot be written, and raises no error for it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _make_lossy_text_stream(raw: io.RawIOBase, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_LossyWriter(raw)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def ignore_stderr_errors() -> None:
    """Make `sys.stderr` drop messages that cannot be written, as on a full disk or a closed pipe.

    A scan must not end because its messages have no reader.
    """
    if _writes_to(sys.stderr, 2):
        sys.stderr.flush()
        # With PYTHONUNBUFFERED, `buffer` is the raw stream itself.
        raw: Any = getattr(sys.stderr.buffer, "raw", sys.stderr.buffer)
        sys.stderr = _make_lossy_text_stream(raw, sys.stderr.encoding)


def wait_for_stdout() -> None:
    """Make `sys.stdout` wait where it is non-blocking and full, instead of ending in a BlockingIOError."""
    if _writes_to(sys.stdout, 1):
        sys.stdout.flush()
        raw: Any = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_WaitingWriter(raw)),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=bool(sys.stdout.line_buffering),
        )


def find_stream(path: Path) -> int | None:
    """Return the descriptor that a path such as /dev/stdout or /dev/fd/3 means; None if it means a file.

    Links are followed one by one: what the last one leads to, such as the file behind stdout, tells nothing.
    """
    process = os.getpid()
    folders = {"/dev/fd", f"/proc/{process}/fd", f"/proc/{process}/task/{process}/fd"}
    step = os.path.abspath(path)  # noqa: PTH100  # a Path raises where a name holds a NUL
    for _ in range(_MAX_LINKS):
        folder, name = os.path.split(step)
        if os.path.realpath(folder) in folders and name.isdecimal():
            return int(name)
        if not os.path.islink(step):  # noqa: PTH114  # as above
            return None
        step = os.path.join(folder, os.readlink(step))  # noqa: PTH115, PTH118  # as above
    return None


def open_stream(descriptor: int) -> BinaryIO:
    """Return a standard stream, or another descriptor that the caller has opened for us, unbuffered.

    Raises OSError if the caller has opened none with this number: it may be one of our own.
    """
    try:
        is_ours = not os.get_inheritable(descriptor)  # what Python itself opens cannot be inherited
    except OverflowError:  # no descriptor has such a number
        is_ours = True
    if is_ours:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return BlockingWriter(os.dup(descriptor), "wb")


def stdout_is_redirected() -> bool:
    """Return whether stdout is a pipe, a socket or a regular file, and so expects the results."""
    mode = os.fstat(1).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def reserve_stdout() -> BinaryIO:
    """Return the real stdout, unbuffered, for results only; all other output to stdout goes to stderr."""
    sys.stdout.flush()
    real_stdout = os.dup(1)
    os.dup2(2, 1)
    return BlockingWriter(real_stdout, "wb")


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr in the block; Python's `sys.stderr` still works."""
    sys.stderr.flush()
    previous, real_stderr = sys.stderr, os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    encoding = getattr(previous, "encoding", None) or "utf-8"
    python_stderr = _make_lossy_text_stream(io.FileIO(os.dup(real_stderr), "wb"), encoding)
    if _writes_to(previous, 2):
        sys.stderr = python_stderr
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            python_stderr.flush()
        sys.stderr = previous
        os.dup2(real_stderr, 2)
        os.close(real_stderr)


def _writes_to(stream: object, descriptor: int) -> bool:
    """Return whether a stream writes to this descriptor; a test's replacement of `sys.stderr` does not."""
    try:
        return bool(stream.fileno() == descriptor)  # type: ignore[attr-defined]  # a stream without it raises
    except (AttributeError, OSError, ValueError):
        return False
