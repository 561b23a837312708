"""Files that this user alone can have written, in the user's own cache and data folders.

What they hold is believed: compiled models are run unchecked, and records say which models were trained here.
So a file that another user owns or can write to, or that is in such a folder, is never read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


def user_cache_folder() -> Path:
    """Return the folder for what can be made again; it need not exist yet. Raises ModelError without one."""
    return _user_folder("user_cache_dir", "XDG_CACHE_HOME")


def user_data_folder() -> Path:
    """Return the folder for what must last; it need not exist yet. Raises ModelError without one."""
    return _user_folder("user_data_dir", "XDG_DATA_HOME")


def _user_folder(function: str, variable: str) -> Path:
    from pathlib import Path

    import platformdirs

    try:
        folder = Path(getattr(platformdirs, function)("digitscan", appauthor=False))
    except RuntimeError:  # no HOME, and a user id without an entry in the system's list of users
        folder = Path()
    # With an empty HOME older platformdirs give "/.cache"; and where there is no home folder, "~/.cache", a
    # folder in the current one.
    has_empty_home = os.environ.get("HOME") == "" and not os.environ.get(variable)
    if has_empty_home or not folder.is_absolute():
        raise ModelError(
            f"this user has no home folder to keep models in: set HOME or {variable} to a folder of your own"
        )
    return folder


@contextlib.contextmanager
def explain_os_errors(what: str, folder: Path, variable: str) -> Iterator[None]:
    """Turn an OSError of storing something in a folder, which follows from a variable, into a ModelError."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{what} cannot be stored in {folder}: {error.strerror or error}; make that folder your own and "
            f"writable, or set {variable} to one that is"
        ) from error


def read_private_file(path: Path) -> bytes:
    """Return the content of a file that only this user can have written.

    Raises PermissionError where others own it or its folder or can write to them, and other OSErrors. Links
    are not followed.
    """
    _check_private(path.parent.stat())
    with open(path, "rb", opener=_open_without_following) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError("not a regular file")
        _check_private(status)
        return file.read()


def _open_without_following(path: str, flags: int) -> int:
    # Without O_NONBLOCK, a named pipe would be waited for.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def write_private_file(path: Path, data: bytes) -> None:
    """Replace or create a file that only this user can read or write; its folder is created where missing.

    The umask does not matter. Raises PermissionError where others own the folder or can write to it, and
    other OSErrors.
    """
    make_private_folder(path.parent)
    write_atomic(path, data, mode=_FILE_MODE)


def make_private_folder(folder: Path) -> None:
    """Create a folder, with its missing parents, that only this user can enter. Raises as the above does."""
    missing = [folder] if not folder.exists() else []
    missing += [parent for parent in folder.parents if missing and not parent.exists()]
    for parent in reversed(missing):  # `mkdir(parents=True)` would give the parents the umask's permissions
        parent.mkdir(_FOLDER_MODE, exist_ok=True)
    _check_private(folder.stat())


def check_writable(folder: Path) -> None:
    """Raise what `write_private_file` would for a file in this folder, which is created where missing."""
    import tempfile

    make_private_folder(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"digitscan")


def _check_private(status: os.stat_result) -> None:
    """Raise PermissionError where others own a file or can write to it; never where it has no such owner."""
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise PermissionError("another user owns it")
    if status.st_mode & _OTHERS_CAN_WRITE:
        raise PermissionError("other users can write to it: take away their permission")
