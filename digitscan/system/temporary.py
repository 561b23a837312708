"""Find a folder for temporary files where some disk is read-only or full."""

from __future__ import annotations

import contextlib
import errno
import os

_MEMORY_FOLDER = "/dev/shm"  # a file system in memory, on Linux; only private folders are made there


def find_temporary_folder(needed_bytes: int) -> str:
    """Return a folder that can be written and has this much space: Python's choice, else one in memory.

    Raises OSError where there is none.
    """
    import shutil
    import tempfile

    candidates = [_MEMORY_FOLDER]
    with contextlib.suppress(OSError):  # there is none, not even the current folder
        candidates.insert(0, tempfile.gettempdir())
    for folder in candidates:
        with contextlib.suppress(OSError):
            if os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free >= needed_bytes:
                return folder
    raise OSError(errno.ENOSPC, "no folder for temporary files has space: set TMPDIR to one that has")
