"""Where the rows go: a named file, the next free `predictions.csv`, or stdout.

A named file that exists is never overwritten without being asked. Two scans never write the same file: each
holds a lock on it, which the system releases when the process ends, however it ends. Other programs heed no
lock. If one deletes, replaces or saves the output meanwhile, the scan goes on in a file beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputClosedError, OutputError, UsageError
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.scanning.output.manifest import WrittenLength, manifest_path
from digitscan.system.files import Replacement, lock_file
from digitscan.system.log import log
from digitscan.system.stdio import (
    BlockingWriter,
    find_stream,
    open_stream,
    reserve_stdout,
    stdout_is_redirected,
)

DEFAULT_NAME = "predictions.csv"
STDOUT = "-"
SYNC_SECONDS = 5.0
"""The rows of so many seconds may be lost if the power fails."""
RESCUE_SUFFIX = ".digitscan-rescued"

_MAX_OPEN_ATTEMPTS = 10
_STDOUT_DESCRIPTOR, _STDERR_DESCRIPTOR = 1, 2


class OutputSink:
    """The destination of the rows: checked before the work, opened when an image was found."""

    def __init__(self, config: OutputConfig) -> None:
        """Choose the destination by the rules of `-o`.

        Raises OutputError if a named file exists or cannot be written, UsageError if a stream is to be
        resumed.
        """
        self.path: Path | None = None
        """The file, or None for a stream. Another free name may be taken when it is opened."""
        self.appending = False
        """Whether rows of an earlier scan are in the file and more are to follow."""
        self.change: str | None = None
        """What another program has done to the output meanwhile, as a sentence; None if nothing."""
        self.takes_free_name = config.path is None and not config.continues
        """Whether the name is free to choose, so that nothing can be in its way."""
        self._continues = config.continues
        self._reuses_file = config.overwrite or config.continues
        self._descriptor = _find_descriptor(config)
        self._file: BinaryIO | None = None
        self._is_new = False
        self._length: WrittenLength | None = None
        self._synced_at = time.monotonic()
        if self._descriptor is None:
            self.path = Path(DEFAULT_NAME if config.path is None else config.path)
            if not self.takes_free_name:
                self._check_named_file(self.path)
        elif config.continues:
            raise UsageError(f"{self._stream_name} cannot be resumed: name a file with -o")

    def _check_named_file(self, path: Path) -> None:
        if os.path.isdir(path):
            raise OutputError(f"{path} is a folder: name a file in it, such as {path / DEFAULT_NAME}")
        if not os.path.isdir(path.parent):
            raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist")
        if os.path.exists(path) and not os.path.isfile(path):
            raise self._not_regular_error(path)
        # A scan that is killed before its first row leaves an empty file, which is started again.
        self.appending = self._continues and os.path.isfile(path) and path.stat().st_size > 0
        if os.path.lexists(path) and not self._reuses_file:
            raise self._exists_error()

    @property
    def description(self) -> str:
        """Where the rows are, for the summary."""
        return f"on {self._stream_name}" if self.path is None else str(self.path)

    @property
    def _stream_name(self) -> str:
        names = {_STDOUT_DESCRIPTOR: "stdout", _STDERR_DESCRIPTOR: "stderr"}
        return names.get(self._descriptor or 0, f"descriptor {self._descriptor}")

    @property
    def is_resumable(self) -> bool:
        """Whether a later scan can add rows: only to a file."""
        return self.path is not None

    @property
    def is_terminal(self) -> bool:
        """Whether the rows appear on a terminal. Known once it is open."""
        return self.path is None and self.file.isatty()

    @property
    def own_files(self) -> list[Path]:
        """The files that this scan writes, and so must not read: the output and its manifest."""
        return [] if self.path is None else [self.path, manifest_path(self.path)]

    @property
    def file(self) -> BinaryIO:
        """The open file; `atomic_rewrite` and `rescue` replace it."""
        assert self._file is not None
        return self._file

    def open(self) -> None:
        """Open and lock the destination; from now on only rows reach stdout. Raises OutputError.

        An existing file keeps its content: it is emptied only when the new manifest is ready.
        """
        stdout = reserve_stdout()
        if self._descriptor == _STDOUT_DESCRIPTOR:
            self._file = stdout
            return
        stdout.close()
        with self.translate_os_errors():
            if self.path is None:
                assert self._descriptor is not None
                self._file = open_stream(self._descriptor)
                return
            self._file = self._open_and_lock(self.path)
            # Another scan may have written here since the first check.
            self.appending = self._continues and os.fstat(self._file.fileno()).st_size > 0

    def _open_and_lock(self, path: Path) -> BinaryIO:
        for _ in range(_MAX_OPEN_ATTEMPTS):
            file = self._open_file(path)
            assert self.path is not None
            if not lock_file(file):
                file.close()
                raise OutputError(f"another scan is writing {self.path}: wait for it, or name another file")
            if _is_at(file, self.path):
                return file
            # Between opening and locking another scan has replaced the file: open the new one.
            file.close()
        raise OutputError(f"{self.path} is replaced again and again: name another file")

    def _open_file(self, path: Path) -> BinaryIO:
        if self.takes_free_name:
            return self._open_next_free(path)
        self._is_new = True
        try:
            return _open_for_rows(path, os.O_EXCL)
        except FileExistsError:
            if not self._reuses_file:
                raise
        self._is_new = False
        file = _open_for_rows(path)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was a file when it was checked
            file.close()
            raise self._not_regular_error(path)
        return file

    def _open_next_free(self, first: Path) -> BinaryIO:
        self._is_new = True
        for suffix in itertools.count(2):
            assert self.path is not None
            # The manifest of an output that was moved away is not overwritten either.
            if not os.path.lexists(manifest_path(self.path)):
                with contextlib.suppress(FileExistsError):
                    return _open_for_rows(self.path, os.O_EXCL)
            self.path = first.with_stem(f"{first.stem}-{suffix}")
        raise AssertionError("count never ends")

    def remove_if_new(self) -> None:
        """Delete the file if this scan has created it, and it is empty: the next try must not find it."""
        if self.path and self._is_new and _is_at(self.file, self.path):
            with contextlib.suppress(OSError):
                if not os.fstat(self.file.fileno()).st_size:
                    self.path.unlink()

    def read_rows(self, raw: bool) -> CsvReader | None:
        """Return the rows that are in the output already, which must be read before any is added.

        None if there are none: a new output, or a stream.
        """
        if self.path is None or not self.appending:
            return None
        return CsvReader(self.path, raw, WrittenLength(self.path).value)

    def prepare_to_append(self, previous_rows: CsvReader | None) -> None:
        """Make the output end where rows can be added, once the previous ones are read.

        An incomplete last row that a killed scan left is removed. Raises OutputError.
        """
        if self.path is None:
            return
        with self.translate_os_errors():
            if previous_rows:
                self.file.seek(previous_rows.whole_bytes + previous_rows.incomplete_bytes)
                if self.has_changed():
                    raise OutputError(f"{self.path} was changed by another program: try again")
                if previous_rows.incomplete_bytes:
                    self.file.seek(self.file.truncate(previous_rows.whole_bytes))
                self.appending = previous_rows.whole_bytes > 0
                if previous_rows.lacks_newline:
                    self.file.write(b"\n")
            self._length = WrittenLength(self.path)
            self._update_length()

    @contextlib.contextmanager
    def atomic_rewrite(self) -> Iterator[BinaryIO]:
        """Give a new file that replaces the old one when the block ends without an exception.

        Until then the old file is whole, whatever fails. The new one has the lock and the permissions of the
        old one. If another program changes the old one meanwhile, it stays, and the new one is kept beside
        it. Raises OutputError.
        """
        assert self.path is not None
        target = Path(os.path.realpath(self.path))
        before = _describe_state(self.file)
        with self.translate_os_errors():
            replacement = Replacement(target)
        try:
            with self.translate_os_errors():
                lock_file(replacement.file)
                _copy_permissions(self.file, replacement.file)
                yield replacement.file
                replacement.prepare()
                if not _is_at(self.file, target) or _describe_state(self.file) != before:
                    beside = next(path for path in _rescue_paths(target) if not os.path.lexists(path))
                    replacement.replace(beside)
                    raise OutputError(
                        f"{self.path} was changed by another program while files were read again: it stays "
                        f"as it is, and the new rows are in {beside}"
                    )
                replacement.replace()
        except BaseException:
            replacement.discard()
            raise
        self.file.close()
        self._file = replacement.file
        self._length = WrittenLength(self.path)
        self._update_length()

    def has_changed(self) -> bool:
        """Return whether another program has deleted, replaced or saved the output since the last write.

        Raises OutputError if a file behind stdout was shortened: the next row would be behind a hole.
        """
        state = os.fstat(self.file.fileno())
        if not stat.S_ISREG(state.st_mode):
            return False
        written = self.file.tell()
        if self.path is None:
            if state.st_size < written:
                raise OutputError(
                    f"The file behind {self._stream_name} was changed by another program while rows were "
                    "written to it: rows are missing there, so scan again"
                )
            return False
        return state.st_size != written or not _is_at(self.file, self.path)

    def rescue(self) -> bool:
        """Go on in a new file beside the output; return whether the rows so far are in it as well.

        They are where the output was deleted or replaced, because the open file still has them. Raises
        OutputError.
        """
        assert self.path is not None
        is_saved_over = os.fstat(self.file.fileno()).st_size != self.file.tell()
        done = "changed" if is_saved_over else "replaced" if os.path.lexists(self.path) else "deleted"
        try:
            path, file = _open_first_free(_rescue_paths(self.path))
            lock_file(file)
            if not is_saved_over:
                self.file.seek(0)
                shutil.copyfileobj(self.file, file)
        except OSError as error:
            raise OutputError(
                f"{self.path} was {done} by another program while rows were written to it, and none can be "
                f"kept beside it ({error.strerror or error}): scan again"
            ) from error
        self.change = f"{self.path} was {done} by another program during the scan. " + (
            f"The rows since then are in {path}; --resume also adds them to {self.path}"
            if is_saved_over
            else f"All rows are in {path}: rename it if you want to keep them"
        )
        log(f"{self.path} was {done} by another program: the scan goes on in {path}")
        self._update_length()
        self._length = None
        self.file.close()
        self._file, self.path = file, path
        return not is_saved_over

    def sync(self) -> None:
        """Flush the rows to the disk if SYNC_SECONDS have passed since the last time. Raises OutputError."""
        if self._file is None or time.monotonic() - self._synced_at <= SYNC_SECONDS:
            return
        if self.is_resumable:
            with self.translate_os_errors():
                os.fsync(self._file.fileno())
            self._update_length()
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Flush the file to the disk and close it. Raises OutputError."""
        if self._file is None:
            return
        with self.translate_os_errors(), self._file:
            if self.is_resumable:
                os.fsync(self._file.fileno())
                self._update_length()

    def _update_length(self) -> None:
        """Note in the manifest how many bytes hold whole rows; none, if another program has changed them."""
        if self._length and self.path:
            is_ours = self.change is None
            self._length.update(os.fstat(self.file.fileno()).st_size if is_ours else None)

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
            destination = self._stream_name if self.path is None else self.path
            raise OutputError(
                f"{destination} cannot be written: {error.strerror or error}. Free some space or name "
                "another file; the rows that were written before are whole."
            ) from error

    def _exists_error(self) -> OutputError:
        return OutputError(
            f"{self.path} exists already: add --resume to continue it, --overwrite to replace it, "
            "or name another file"
        )

    @staticmethod
    def _not_regular_error(path: Path) -> OutputError:
        return OutputError(
            f"{path} is a pipe, socket or device: write the rows to stdout (-o -) and redirect it there"
        )


def _find_descriptor(config: OutputConfig) -> int | None:
    """Return the descriptor of the stream that rows go to, None if they go to a file."""
    if config.path == STDOUT:
        return _STDOUT_DESCRIPTOR
    if config.path is not None:
        return find_stream(Path(config.path))
    return None if config.continues or not stdout_is_redirected() else _STDOUT_DESCRIPTOR


def _open_for_rows(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file, or create it, without emptying it: another scan may have it, as its lock will tell.

    Rows are appended: if another program shortens the file, they do not come behind a hole of NUL bytes. A
    named pipe is not waited for.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return BlockingWriter(os.open(path, flags, 0o666), "rb+")


def _open_first_free(paths: Iterator[Path]) -> tuple[Path, BinaryIO]:
    """Create the first of the files that does not exist yet."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            return path, _open_for_rows(path, os.O_EXCL)
    raise AssertionError("the paths never end")


def _rescue_paths(output: Path) -> Iterator[Path]:
    """Yield the names for rows that cannot be in the output, in the order in which they are tried."""
    first = output.with_name(output.name + RESCUE_SUFFIX)
    yield first
    for suffix in itertools.count(2):
        yield first.with_name(f"{first.name}-{suffix}")


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether the open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _describe_state(file: BinaryIO) -> tuple[int, int]:
    """Return what shows whether a file was written to: its size and the time of the last change."""
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _copy_permissions(source: BinaryIO, target: BinaryIO) -> None:
    """Let the same people read and write a new file, as far as the system allows it."""
    state = os.fstat(source.fileno())
    with contextlib.suppress(OSError, AttributeError):  # only root may give a file away
        os.fchown(target.fileno(), state.st_uid, state.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(target.fileno(), stat.S_IMODE(state.st_mode))
