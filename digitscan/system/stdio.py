"""The standard streams, as file descriptors 0, 1 and 2.

Native libraries write to descriptors 1 and 2 directly, past Python's `sys.stdout` and `sys.stderr`. To keep
their messages out of a CSV on stdout, the descriptors themselves are redirected.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO


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


class _LossyWriter(io.RawIOBase):
    """A raw stream that drops what cannot be written, and raises no error for it."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        try:
            return self._raw.write(data)
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
    if _writes_to_stderr(sys.stderr):
        sys.stderr.flush()
        # With PYTHONUNBUFFERED, `buffer` is the raw stream itself.
        raw: Any = getattr(sys.stderr.buffer, "raw", sys.stderr.buffer)
        sys.stderr = _make_lossy_text_stream(raw, sys.stderr.encoding)


def stdout_is_redirected() -> bool:
    """Return whether stdout is a pipe, a socket or a regular file, and so expects the results."""
    mode = os.fstat(1).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def reserve_stdout() -> BinaryIO:
    """Return the real stdout, unbuffered, for results only; all other output to stdout goes to stderr."""
    sys.stdout.flush()
    real_stdout = os.dup(1)
    os.dup2(2, 1)
    return io.FileIO(real_stdout, "wb")


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
    if _writes_to_stderr(previous):
        sys.stderr = python_stderr
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            python_stderr.flush()
        sys.stderr = previous
        os.dup2(real_stderr, 2)
        os.close(real_stderr)


def _writes_to_stderr(stream: object) -> bool:
    """Return whether a stream writes to descriptor 2, which a test's replacement of `sys.stderr` does not."""
    try:
        return bool(stream.fileno() == 2)  # type: ignore[attr-defined]  # a stream without it raises
    except (AttributeError, OSError, ValueError):
        return False
