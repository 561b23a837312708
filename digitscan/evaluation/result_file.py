"""Write result files: never over something that exists, unless that is asked for, and never half of one."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from digitscan.errors import OutputError
from digitscan.system.files import describe_os_error, write_atomic


def check_result_path(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a result cannot be written to a path: where it is a folder, or exists."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file with -o")
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"{path} exists already: name another with -o, or add --overwrite")


def write_result(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a result file whole. Raises OutputError."""
    try:
        write_atomic(path, data, partial(check_result_path, path, overwrite))
    except FileNotFoundError:
        raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {describe_os_error(error)}") from error


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it; one that exists stays. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{folder} is a file: name a folder with -o") from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {describe_os_error(error)}") from error
