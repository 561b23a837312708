"""Where the rows go: a named file, the next free `predictions.csv`, or stdout.

A named file that exists is never overwritten without being asked. Two scans never write the same file: each
holds a lock on it, which the system releases when the process ends, however it ends.
"""

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

from digitscan.errors import OutputClosedError, OutputError, UsageError
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.manifest import manifest_path
from digitscan.system.files import lock_file
from digitscan.system.stdio import reserve_stdout, stdout_is_redirected

DEFAULT_NAME = "predictions.csv"
STDOUT = "-"
SYNC_SECONDS = 5.0
"""The rows of so many seconds may be lost if the power fails."""

_MAX_OPEN_ATTEMPTS = 10


class OutputSink:
    """The destination of the rows: checked before the work, opened when an image was found."""

    def __init__(self, config: OutputConfig) -> None:
        """Choose the destination by the rules of `-o`.

        Raises OutputError if a named file exists or its folder does not, UsageError if stdout is to be
        resumed.
        """
        self.path: Path | None = None
        """The file, or None for stdout. Another free name may be taken when it is opened."""
        self.appending = False
        """Whether rows of an earlier scan are in the file and more are to follow."""
        self._continues = config.continues
        self._reuses_file = config.overwrite or config.continues
        self._takes_free_name = config.path is None and not config.continues
        self._file: BinaryIO | None = None
        self._synced_at = time.monotonic()
        if config.continues and config.path == STDOUT:
            raise UsageError("stdout cannot be resumed: name a file with -o")
        if config.path == STDOUT or (self._takes_free_name and stdout_is_redirected()):
            return
        self.path = Path(DEFAULT_NAME if config.path is None else config.path)
        if not self._takes_free_name:
            self._check_named_file(self.path)

    def _check_named_file(self, path: Path) -> None:
        if os.path.isdir(path):
            raise OutputError(f"{path} is a folder: name a file in it, such as {path / DEFAULT_NAME}")
        if not os.path.isdir(path.parent):
            raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist")
        if self._continues and os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{path} is no regular file, and cannot be resumed: name a file with -o")
        # A scan that is killed before its first row leaves an empty file, which is started again.
        self.appending = self._continues and os.path.isfile(path) and path.stat().st_size > 0
        if os.path.lexists(path) and not self._reuses_file:
            raise self._exists_error()

    @property
    def description(self) -> str:
        """Where the rows are, for the summary."""
        return "on stdout" if self.path is None else str(self.path)

    @property
    def is_resumable(self) -> bool:
        """Whether a later scan can add rows: only in a regular file. Known once it is open."""
        return self.path is not None and os.path.isfile(self.path)

    @property
    def is_terminal(self) -> bool:
        """Whether the rows themselves appear on the terminal, where a progress bar would mix with them."""
        return self.path is None and sys.stdout.isatty()

    @property
    def own_files(self) -> list[Path]:
        """The files that this scan writes, and so must not read: the output and its manifest."""
        return [] if self.path is None else [self.path, manifest_path(self.path)]

    @property
    def file(self) -> BinaryIO:
        """The open file; `atomic_rewrite` replaces it."""
        assert self._file is not None
        return self._file

    def open(self) -> None:
        """Open and lock the destination; from now on only rows reach stdout. Raises OutputError.

        An existing file keeps its content: it is emptied only when the new manifest is ready.
        """
        stdout = reserve_stdout()
        if self.path is None:
            self._file = stdout
            return
        stdout.close()
        with self.translate_os_errors():
            self._file = self._open_and_lock(self.path)
            # Another scan may have written here since the first check.
            self.appending = self._continues and self.is_resumable and self.path.stat().st_size > 0

    def _open_and_lock(self, path: Path) -> BinaryIO:
        for _ in range(_MAX_OPEN_ATTEMPTS):
            file = self._open_file(path)
            assert self.path is not None
            if not os.path.isfile(self.path):
                return file
            if not lock_file(file):
                file.close()
                raise OutputError(f"another scan is writing {self.path}: wait for it, or name another file")
            if _is_at(file, self.path):
                return file
            # Between opening and locking another scan has replaced the file: open the new one.
            file.close()
        raise OutputError(f"{self.path} is replaced again and again: name another file")

    def _open_file(self, path: Path) -> BinaryIO:
        if self._takes_free_name:
            return self._open_next_free(path)
        if self._reuses_file and (os.path.isfile(path) or not os.path.exists(path)):
            return open(path, "r+b", buffering=0, opener=_open_or_create)  # stays open for the whole scan
        return path.open("wb" if self._reuses_file else "xb", buffering=0)

    def _open_next_free(self, first: Path) -> BinaryIO:
        for suffix in itertools.count(2):
            try:
                assert self.path is not None
                return self.path.open("xb", buffering=0)
            except FileExistsError:
                self.path = first.with_stem(f"{first.stem}-{suffix}")
        raise AssertionError("count never ends")

    @contextlib.contextmanager
    def atomic_rewrite(self) -> Iterator[BinaryIO]:
        """Give a new file that replaces the old one when the block ends without an exception.

        Until then the old file is whole, whatever fails. The new one has the lock and the permissions of the
        old one. Raises OutputError.
        """
        assert self.path is not None and self._file is not None
        target = Path(os.path.realpath(self.path))
        temporary = target.with_name(f".{target.name}.digitscan")
        with self.translate_os_errors():
            temporary.unlink(missing_ok=True)  # of a killed run: our lock says that no other is at work
            file = temporary.open("x+b", buffering=0)
        try:
            with self.translate_os_errors():
                lock_file(file)
                _copy_permissions(self._file, file)
                yield file
                os.fsync(file.fileno())
                temporary.replace(target)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file = file

    def sync(self) -> None:
        """Flush the rows to the disk if SYNC_SECONDS have passed since the last time. Raises OutputError."""
        if self._file is None or time.monotonic() - self._synced_at <= SYNC_SECONDS:
            return
        if self.is_resumable:
            with self.translate_os_errors():
                os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Flush the file to the disk and close it. Raises OutputError."""
        if self._file is None:
            return
        with self.translate_os_errors(), self._file:
            if self.is_resumable:
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def translate_os_errors(self) -> Iterator[None]:
        """Raise the OSErrors of the block, which writes here, as OutputError or OutputClosedError."""
        try:
            yield
        except BrokenPipeError:
            raise OutputClosedError from None
        except FileExistsError:
            raise self._exists_error() from None
        except OSError as error:
            destination = "stdout" if self.path is None else self.path
            raise OutputError(
                f"{destination} cannot be written: {error.strerror or error}. Free some space or name "
                "another file; the rows that were written before are whole."
            ) from error

    def _exists_error(self) -> OutputError:
        return OutputError(
            f"{self.path} exists already: add --resume to continue it, --overwrite to replace it, "
            "or name another file"
        )


def _open_or_create(path: str, flags: int) -> int:
    """Open a file without emptying it: another scan may have created it since, as its lock will tell."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether the open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _copy_permissions(source: BinaryIO, target: BinaryIO) -> None:
    """Let the same people read and write a new file, as far as the system allows it."""
    state = os.fstat(source.fileno())
    with contextlib.suppress(OSError, AttributeError):  # only root may give a file away
        os.fchown(target.fileno(), state.st_uid, state.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(target.fileno(), stat.S_IMODE(state.st_mode))
