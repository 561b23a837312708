"""Rescue the rows when another program deletes, replaces or saves the output during a scan.

Other programs heed no lock. So a scan looks before each write whether the output is as it left it. If not, it
goes on in a file beside it, and what the other program has made of the output stays as it is.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from digitscan.errors import OutputError
from digitscan.scanning.output.row_file import copy_content, create_first_free, is_at
from digitscan.system.files import lock_file

RESCUE_SUFFIX = ".digitscan-rescued"


def rescue_paths(output: Path) -> Iterator[Path]:
    """Yield the names for rows that cannot be in the output, in the order in which they are tried."""
    first = output.with_name(output.name + RESCUE_SUFFIX)
    yield first
    for suffix in itertools.count(2):
        yield first.with_name(f"{first.name}-{suffix}")


def has_changed(file: BinaryIO, output: Path) -> bool:
    """Return whether the open file of the rows is no longer the output, or not as the last write left it."""
    return _is_saved_over(file) or not is_at(file, output)


def _is_saved_over(file: BinaryIO) -> bool:
    return os.fstat(file.fileno()).st_size != file.tell()


class OutputChange(NamedTuple):
    """What another program has done to the output."""

    output: Path
    message: str
    """What happened, as a sentence without its full stop."""
    keeps_rows: bool
    """Whether the open file still has all rows, because the output was deleted or replaced."""

    def describe_rescue(self, path: Path) -> str:
        """Return sentences for the user: what happened, and which rows are in the file at `path`."""
        if self.keeps_rows:
            return f"{self.message}. All rows are in {path}."
        return (
            f"{self.message}. The rows since then are in {path}. Rows before them may be missing: --resume "
            f"adds all that are behind the last row of {self.output}."
        )


def describe_change(file: BinaryIO, output: Path) -> OutputChange:
    """Return what was done to an output that has changed."""
    is_saved_over = _is_saved_over(file)
    done = "changed" if is_saved_over else "replaced" if os.path.lexists(output) else "deleted"
    message = f"{output} was {done} by another program during the scan"
    return OutputChange(output, message, keeps_rows=not is_saved_over)


def open_rescue_file(file: BinaryIO, change: OutputChange) -> tuple[Path, BinaryIO]:
    """Create and lock a file beside an output that has changed; copy the rows of the open file if it has all.

    Raises OutputError.
    """
    try:
        path, rescue_file = create_first_free(rescue_paths(change.output))
        lock_file(rescue_file)
        if change.keeps_rows:
            copy_content(file, rescue_file)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{change.message}, and rows cannot be kept beside it ({reason}): scan again"
        ) from error
    return path, rescue_file
