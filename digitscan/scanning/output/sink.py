"""Where the rows go: a named file, the next free `predictions.csv`, or a stream such as stdout.

A named file that exists is never overwritten without being asked. Two scans never write the same file: each
holds a lock on it, which the system releases when the process ends, however it ends. Other programs heed no
lock. If one deletes, replaces or saves the output meanwhile, the scan goes on beside it (see `rescue`).
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputClosedError, OutputError, UsageError
from digitscan.scanning.output.config import DEFAULT_NAME, OutputConfig
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.scanning.output.manifest import ScanManifest, manifest_path, replace_manifest
from digitscan.scanning.output.rescue import describe_change, has_changed, open_rescue_file
from digitscan.scanning.output.rewrite import atomic_rewrite
from digitscan.scanning.output.row_file import (
    backup_paths,
    check_can_be_row_file,
    copy_beside,
    create_first_free,
    ends_in_newline,
    is_at,
    is_regular,
    numbered_paths,
    open_row_file,
    reopen_row_file,
)
from digitscan.scanning.output.written_state import FileHash, StateField, WrittenState, is_unchanged
from digitscan.system.files import lock_file
from digitscan.system.log import log
from digitscan.system.stdio import find_stream, open_stream, reserve_stdout, stdout_is_redirected

STDOUT = "-"
SYNC_SECONDS = 5.0
"""The rows of so many seconds may be lost if the power fails."""

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
        self.is_new = False
        """Whether the file was created when it was opened."""
        self.is_unchanged = False
        """Whether the file is as a scan left it. This and the next three are known once it is open."""
        self.is_edited = False
        """Whether people have changed the rows that are continued, now or before an earlier scan."""
        self.was_complete = False
        """Whether the scan that is continued came to its end."""
        self.has_state = False
        """Whether the manifest has the place for what is known of the rows: older versions had none."""
        self._is_complete = False
        self._state: StateField | None = None
        self._hash = FileHash()
        self._synced_at = time.monotonic()
        if self._descriptor is None:
            self.path = Path(DEFAULT_NAME if config.path is None else config.path)
            if not self.takes_free_name:
                self._check_named_file(self.path)
        elif config.continues:
            raise UsageError(f"{self._stream_name} cannot be resumed: name a file with -o")

    def _check_named_file(self, path: Path) -> None:
        check_can_be_row_file(path)
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
    def is_kept(self) -> bool:
        """Whether the rows go into a file, if only into that behind `> rows.csv`. Not once it is open."""
        return self._descriptor is None or stat.S_ISREG(os.fstat(self._descriptor).st_mode)

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
            self._compare_with_state(self._file, StateField(manifest_path(self.path)))

    def _compare_with_state(self, file: BinaryIO, field: StateField) -> None:
        """Find out what people have done to the file since a scan wrote it. Raises OSError."""
        state = field.value
        self.has_state = field.is_updatable
        self.was_complete = state is not None and state.is_complete
        self.is_unchanged = is_unchanged(file, state)
        if self.appending:  # in a file that is started again, nothing is edited
            # Of a scan that was killed before it noted anything, nobody knows.
            is_unknown = state is not None and state.length is not None and not state.hashed_bytes
            is_known_as_edited = state is not None and state.is_edited
            self.is_edited = is_known_as_edited or not (self.is_unchanged or is_unknown)

    def mark_complete(self) -> None:
        """Note that all rows are there, for the manifest."""
        self._is_complete = True

    def _open_and_lock(self, path: Path) -> BinaryIO:
        for _ in range(_MAX_OPEN_ATTEMPTS):
            file = self._open_file(path)
            assert self.path is not None
            if not lock_file(file):
                file.close()
                raise OutputError(f"another scan is writing {self.path}: wait for it, or name another file")
            if is_at(file, self.path):
                return file
            # Between opening and locking another scan has replaced the file: open the new one.
            file.close()
        raise OutputError(f"{self.path} is replaced again and again: name another file")

    def _open_file(self, path: Path) -> BinaryIO:
        self.is_new = True
        if self.takes_free_name:
            # The manifest of an output that was moved away is not overwritten either.
            names = (name for name in numbered_paths(path) if not os.path.lexists(manifest_path(name)))
            self.path, file = create_first_free(names)
            return file
        try:
            return open_row_file(path, os.O_EXCL)
        except FileExistsError:
            if not self._reuses_file:
                raise
        self.is_new = False
        return reopen_row_file(path)

    def remove_if_new(self) -> None:
        """Delete the file if this scan has created it, and it is empty: the next try must not find it."""
        if self.path and self.is_new and is_at(self.file, self.path):
            with contextlib.suppress(OSError):
                if not os.fstat(self.file.fileno()).st_size:
                    self.path.unlink()

    def read_rows(self, raw: bool) -> CsvReader | None:
        """Return the rows that are in the output already, which must be read before any is added.

        None if there are none: a new output, or a stream.
        """
        if self.path is None or not self.appending:
            return None
        state = StateField(manifest_path(self.path)).value
        return CsvReader(self.path, raw, state.length if state else None)

    @contextlib.contextmanager
    def keep_backup(self) -> Iterator[Path]:
        """Copy the file to the first that is free of `FILE.bak`, `FILE.bak-2`, ..., and give the copy.

        If the block fails, the file was not replaced, and the copy is removed. Raises OutputError.
        """
        assert self.path is not None
        with self.translate_os_errors():
            backup = copy_beside(self.file, backup_paths(self.path))
        try:
            yield backup
        except BaseException:
            backup.unlink(missing_ok=True)
            raise

    def replace_manifest(self, manifest: ScanManifest) -> None:
        """Write another manifest for the rows that are there. Raises OutputError."""
        assert self.path is not None
        with self.translate_os_errors():
            replace_manifest(self.path, manifest)
        self._state = StateField(manifest_path(self.path))

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
            self._state = StateField(manifest_path(self.path))
            self._update_state()

    @contextlib.contextmanager
    def atomic_rewrite(self) -> Iterator[BinaryIO]:
        """Give a file that replaces the old one when the block ends, see `rewrite`. Raises OutputError."""
        assert self.path is not None
        with self.translate_os_errors(), atomic_rewrite(self.file, self.path) as new_file:
            yield new_file
        self.file.close()
        self._file = new_file
        self._state = StateField(manifest_path(self.path))
        self._hash = FileHash()
        with self.translate_os_errors():
            new_file.seek(0, os.SEEK_END)
            self._update_state()

    def has_changed(self) -> bool:
        """Return whether another program has deleted, replaced or saved the output since the last write.

        Raises OutputError if a file behind stdout was shortened: the next row would be behind a hole.
        """
        if not is_regular(self.file):
            return False
        if self.path:
            return has_changed(self.file, self.path)
        if os.fstat(self.file.fileno()).st_size < self.file.tell():
            raise OutputError(
                f"The file behind {self._stream_name} was changed by another program while rows were "
                "written to it: rows are missing there, so scan again"
            )
        return False

    def rescue(self, has_more_rows: bool = True) -> bool:
        """Go on beside an output that has changed; return whether the rows so far are there as well.

        They are if the output was deleted or replaced: the open file still has them. If it was saved over and
        there are no more rows, there is nothing to go on with. `change` says what happened. Raises
        OutputError.
        """
        assert self.path is not None
        change = describe_change(self.file, self.path)
        if self.change:
            raise OutputError(f"{self.change} But {change.message} as well: scan again")
        if not change.keeps_rows and not has_more_rows:
            self.change = f"{change.message}. Rows may be missing: --resume adds those behind its last row."
            return False
        path, file = open_rescue_file(self.file, change)
        self.change = change.describe_rescue(path)
        log(f"{change.message}: it goes on in {path}")
        self._update_state()
        self._state = None
        self.file.close()
        self._file, self.path = file, path
        return change.keeps_rows

    def sync(self) -> None:
        """Flush the rows to the disk if SYNC_SECONDS have passed since the last time. Raises OutputError."""
        if self._file is None:
            return
        if self._state and self._hash.size == 0:  # so that few rows of a killed scan are not in the digest
            with self.translate_os_errors():
                self._update_state()
        if time.monotonic() - self._synced_at <= SYNC_SECONDS:
            return
        if self.is_resumable:
            with self.translate_os_errors():
                os.fsync(self._file.fileno())
                self._update_state()
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Flush the file to the disk and close it. Raises OutputError."""
        if self._file is None:
            return
        with self.translate_os_errors(), self._file:
            if self.is_resumable:
                os.fsync(self._file.fileno())
                self._update_state(is_last=True)

    def _update_state(self, is_last: bool = False) -> None:
        """Note in the manifest how many bytes hold whole rows, and their digest. Raises OSError.

        No length, if another program has changed them, or if they are the last and all are whole: then no
        incomplete row behind them is this scan's.
        """
        if not (self._state and self.path):
            return
        is_whole = is_last and ends_in_newline(self.file)
        size = os.fstat(self.file.fileno()).st_size
        if self.change or has_changed(self.file, self.path):
            if value := self._state.value:
                self._state.update(value._replace(length=None if self.change or is_whole else size))
            return
        self._hash.extend(self.file, size)
        length = None if is_whole else size
        is_complete = is_whole and self._is_complete
        self._state.update(
            WrittenState(length, self._hash.size, self._hash.digest, is_complete, self.is_edited)
        )

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


def _find_descriptor(config: OutputConfig) -> int | None:
    """Return the descriptor of the stream that rows go to, None if they go to a file."""
    if config.path == STDOUT:
        return _STDOUT_DESCRIPTOR
    if config.path is not None:
        return find_stream(Path(config.path))
    return None if config.continues or not stdout_is_redirected() else _STDOUT_DESCRIPTOR
