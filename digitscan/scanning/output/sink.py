"""Where the rows go: a named file, the next free `predictions.csv`, or stdout."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputError, UsageError
from digitscan.scanning.output.manifest import manifest_path
from digitscan.system.files import lock_file
from digitscan.system.stdio import reserve_stdout, stdout_is_redirected

DEFAULT_NAME = "predictions.csv"
STDOUT = "-"
SYNC_SECONDS = 5.0
"""So often the rows are made safe against a loss of power."""


_OPENINGS = 10


class OutputClosedError(Exception):
    """Whoever read our stdout has closed it: they have what they wanted."""


class OutputSink:
    """A place for rows, chosen and checked before the work, opened when there is something to write.

    `appending` tells that rows of an earlier scan stand there, and more are to follow.
    """

    def __init__(self, named: str | None, overwrite: bool = False, resume: bool = False) -> None:
        """Choose by the rules of `-o`. Raises OutputError where a named file exists or has no folder.

        Raises UsageError where stdout is to be resumed.
        """
        self.path: Path | None = None
        self.appending = False
        self._reuses, self._resumes = overwrite or resume, resume
        self._free_name = named is None and not resume
        self._file: BinaryIO | None = None
        self._synced = time.monotonic()
        if resume and named == STDOUT:
            raise UsageError("stdout cannot be resumed: name a file with -o")
        if named == STDOUT or (named is None and not resume and stdout_is_redirected()):
            return
        self.path = Path(DEFAULT_NAME if named is None else named)
        if self._free_name:
            return
        if os.path.isdir(self.path):
            example = self.path / DEFAULT_NAME
            raise OutputError(f"{self.path} is a folder: name a file in it, such as {example}")
        if not os.path.isdir(self.path.parent):
            raise OutputError(f"{self.path} cannot be written: the folder {self.path.parent} does not exist")
        if resume and os.path.exists(self.path) and not os.path.isfile(self.path):
            raise UsageError(f"{self.path} is no regular file, and cannot be resumed: name a file with -o")
        # An empty file is what a scan leaves that was killed before its first word.
        self.appending = resume and os.path.isfile(self.path) and self.path.stat().st_size > 0
        if os.path.lexists(self.path) and not overwrite and not resume:
            raise self._exists()

    @property
    def where(self) -> str:
        """The place in words."""
        return "on stdout" if self.path is None else str(self.path)

    @property
    def is_resumable(self) -> bool:
        """Whether what is written can be gone on with: a regular file, once open."""
        return self.path is not None and os.path.isfile(self.path)

    @property
    def is_terminal(self) -> bool:
        """Whether the rows themselves appear on the terminal, so that a progress bar would mix with them."""
        return self.path is None and sys.stdout.isatty()

    @property
    def file(self) -> BinaryIO:
        """What `open` returned, or the file that took its place."""
        assert self._file is not None
        return self._file

    def open(self) -> BinaryIO:
        """Open the place for writing; from now on only rows reach stdout. Raises OutputError.

        What stands in a file that is used again is still there; no other scan writes to it any more.
        """
        real = reserve_stdout()
        if self.path is None:
            self._file = real
            return real
        real.close()
        with self.translate_os_errors():
            self._file = self._open_locked(self.path)
            # Another scan may have written here since the first look.
            self.appending = self._resumes and self.is_resumable and self.path.stat().st_size > 0
        return self._file

    def _open_locked(self, first: Path) -> BinaryIO:
        for _ in range(_OPENINGS):
            if self._free_name:
                file = self._next_free(first)
            elif self._reuses and (os.path.isfile(first) or not os.path.exists(first)):
                file = open(first, "r+b", buffering=0, opener=_open_or_make)  # noqa: SIM115  # kept open
            else:
                file = first.open("wb" if self._reuses else "xb", buffering=0)
            assert self.path is not None
            if not os.path.isfile(self.path):
                return file
            if not lock_file(file):
                file.close()
                raise OutputError(f"another scan is writing {self.path}: wait for it, or name another file")
            if _is_at(file, self.path):
                return file
            file.close()  # another scan has put a new file in its place before it let go of this one
        raise OutputError(f"{self.path} is replaced again and again: name another file")

    @property
    def own_files(self) -> list[Path]:
        """What this scan writes, and so does not read: the output and its record."""
        return [] if self.path is None else [self.path, manifest_path(self.path)]

    @contextlib.contextmanager
    def atomic_rewrite(self) -> Iterator[BinaryIO]:
        """Give a new file, locked like the old one, which it replaces when all went well.

        The old file stays whole until then. Raises OutputError.
        """
        assert self.path is not None and self._file is not None
        place = Path(os.path.realpath(self.path))
        beside = place.with_name(f".{place.name}.digitscan")
        with self.translate_os_errors():
            beside.unlink(missing_ok=True)  # of a run that was killed: the lock says that none is at work
            file = beside.open("x+b", buffering=0)
        try:
            with self.translate_os_errors():
                lock_file(file)
                _take_permissions(file, self._file)
                yield file
                os.fsync(file.fileno())
                beside.replace(place)
        except BaseException:
            file.close()
            beside.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file = file

    def sync(self) -> None:
        """Make the rows safe against a loss of power, if the last time is long ago. Raises OutputError."""
        if self._file is not None and time.monotonic() - self._synced > SYNC_SECONDS and self.is_resumable:
            with self.translate_os_errors():
                os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Make the file safe on the disk and close it. Raises OutputError."""
        if self._file is None:
            return
        with self.translate_os_errors(), self._file:
            if self.is_resumable:
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def translate_os_errors(self) -> Iterator[None]:
        """Turn the system's errors in writing here into OutputError, or OutputClosedError."""
        try:
            yield
        except BrokenPipeError:
            raise OutputClosedError from None
        except FileExistsError:
            raise self._exists() from None
        except OSError as error:
            place = "stdout" if self.path is None else self.path
            raise OutputError(
                f"{place} cannot be written: {error.strerror or error}. Make room or name another place; "
                "the rows that stand there are whole."
            ) from error

    def _next_free(self, first: Path) -> BinaryIO:
        for number in itertools.count(2):
            try:
                assert self.path is not None
                return self.path.open("xb", buffering=0)
            except FileExistsError:
                self.path = first.with_stem(f"{first.stem}-{number}")
        raise AssertionError

    def _exists(self) -> OutputError:
        return OutputError(
            f"{self.path} exists already: add --resume to go on with it, --overwrite to replace it, "
            "or name another file"
        )


def _open_or_make(path: str, flags: int) -> int:
    """Open a file as it is: another scan may have made it a moment ago, and is asked for by its lock."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Tell whether the open file is what stands under the name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take_permissions(file: BinaryIO, other: BinaryIO) -> None:
    """Let those read and write a new file who might read and write the other one, where the system can."""
    state = os.fstat(other.fileno())
    with contextlib.suppress(OSError, AttributeError):  # only root may give a file away
        os.fchown(file.fileno(), state.st_uid, state.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(file.fileno(), stat.S_IMODE(state.st_mode))
