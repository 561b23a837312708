"""Standard streams at the level of file descriptors, where native libraries print.

Python's own `sys.stdout` and `sys.stderr` cannot keep a C library's `printf` out of a CSV.
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
    """Point closed standard streams at nothing, or the next file opened would take their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # lives as long as the process


class _Words(io.RawIOBase):
    """Standard error as Python writes to it: words that nobody can take are lost, and nothing else is."""

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


def _as_words(raw: io.RawIOBase, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Words(raw)), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def ignore_stderr_errors() -> None:
    """Let a full disk or a closed pipe behind stderr take our words, but end nothing."""
    if _writes_to_stderr(sys.stderr):
        sys.stderr.flush()
        # Without a buffer where PYTHONUNBUFFERED is set.
        raw: Any = getattr(sys.stderr.buffer, "raw", sys.stderr.buffer)
        sys.stderr = _as_words(raw, sys.stderr.encoding)


def stdout_is_redirected() -> bool:
    """Tell whether stdout is a pipe or a redirected file, which asks for the results themselves."""
    mode = os.fstat(1).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def reserve_stdout() -> BinaryIO:
    """Return the real stdout for results alone; whatever else prints to stdout lands on stderr."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    return io.FileIO(real, "wb")


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Silence what native code prints to stderr; Python's own `sys.stderr` still reaches it."""
    sys.stderr.flush()
    before, real = sys.stderr, os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    encoding = getattr(before, "encoding", None) or "utf-8"
    own = _as_words(io.FileIO(os.dup(real), "wb"), encoding)
    if _writes_to_stderr(before):
        sys.stderr = own
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            own.flush()
        sys.stderr = before
        os.dup2(real, 2)
        os.close(real)


def _writes_to_stderr(stream: object) -> bool:
    """Whether this is the process's real stderr, and not a stand-in that a test put there."""
    try:
        return bool(stream.fileno() == 2)  # type: ignore[attr-defined]  # answered by the except
    except (AttributeError, OSError, ValueError):
        return False
