"""Where the rows go: a named file, the next free `predictions.csv`, or stdout."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputError
from digitscan.streams import guard_stdout, stdout_takes_results

DEFAULT_NAME = "predictions.csv"
STDOUT = "-"


class ReaderGoneError(Exception):
    """Whoever read our stdout has closed it: they have what they wanted."""


class Output:
    """A place for rows, chosen and checked before the work, opened when there is something to write."""

    def __init__(self, named: str | None, overwrite: bool = False) -> None:
        """Choose by the rules of `-o`. Raises OutputError where a named file exists or has no folder."""
        self.path: Path | None = None
        self._overwrite = overwrite
        self._free_name = named is None
        self._file: BinaryIO | None = None
        if named == STDOUT or (named is None and stdout_takes_results()):
            return
        self.path = Path(DEFAULT_NAME if named is None else named)
        if named is None:
            return
        if self.path.is_dir():
            example = self.path / DEFAULT_NAME
            raise OutputError(f"{self.path} is a folder: name a file in it, such as {example}")
        if not self.path.parent.is_dir():
            raise OutputError(f"{self.path} cannot be written: the folder {self.path.parent} does not exist")
        if os.path.lexists(self.path) and not overwrite:
            raise self._exists()

    @property
    def where(self) -> str:
        """The place in words."""
        return "on stdout" if self.path is None else str(self.path)

    @property
    def on_terminal(self) -> bool:
        """Whether the rows themselves appear on the terminal, so that a progress bar would mix with them."""
        return self.path is None and sys.stdout.isatty()

    def open(self) -> BinaryIO:
        """Open the place for writing; from now on only rows reach stdout. Raises OutputError."""
        real = guard_stdout()
        if self.path is None:
            self._file = real
            return real
        real.close()
        with self.failures_said():
            if self._free_name:
                self._file = self._next_free(self.path)
            else:
                self._file = self.path.open("wb" if self._overwrite else "xb", buffering=0)
        assert self._file is not None
        return self._file

    def close(self) -> None:
        """Make the file safe on the disk and close it. Raises OutputError."""
        if self._file is None:
            return
        with self.failures_said(), self._file:
            if self.path is not None and self.path.is_file():
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def failures_said(self) -> Iterator[None]:
        """Turn the system's errors in writing here into OutputError, or ReaderGoneError."""
        try:
            yield
        except BrokenPipeError:
            raise ReaderGoneError from None
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
        return OutputError(f"{self.path} exists already: add --overwrite to replace it, or name another file")
