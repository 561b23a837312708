"""Replace the file of the rows by a new one, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputError
from digitscan.scanning.output.rescue import rescue_paths
from digitscan.scanning.output.row_file import copy_permissions, describe_state, is_at
from digitscan.system.files import Replacement, lock_file


@contextlib.contextmanager
def atomic_rewrite(file: BinaryIO, output: Path) -> Iterator[BinaryIO]:
    """Give a new file that replaces the open one, the output, when the block ends without an exception.

    Until then the old file is whole, whatever fails. The new one has the lock and the permissions of the old
    one, and stays open. If another program changes the old one meanwhile, it stays, and the new one is kept
    beside it. Raises OutputError then, and OSError.
    """
    target = Path(os.path.realpath(output))
    before = describe_state(file)
    replacement = Replacement(target)
    try:
        lock_file(replacement.file)
        copy_permissions(file, replacement.file)
        yield replacement.file
        replacement.prepare()
        if not is_at(file, target) or describe_state(file) != before:
            beside = next(path for path in rescue_paths(target) if not os.path.lexists(path))
            replacement.replace(beside)
            raise OutputError(
                f"{output} was changed by another program while files were read again: it stays as it is, "
                f"and the new rows are in {beside}"
            )
        replacement.replace()
    except BaseException:
        replacement.discard()
        raise
