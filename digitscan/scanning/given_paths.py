"""The paths that the command is given: as arguments, as globs where the shell expands none, in a list."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from digitscan.errors import NoImagesError, UsageError

STDIN = "-"
_SHELL_EXPANDS_GLOBS = os.name != "nt"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class GivenPaths(NamedTuple):
    """What to scan, in order: first the arguments, then the list."""

    named: list[Path]
    """The arguments. One that does not exist is a mistake."""
    listed: list[Path]
    """The paths of the list. One that does not exist may have been deleted meanwhile."""


def collect_paths(paths: Sequence[Path], files_from: str | None, null_separated: bool) -> GivenPaths:
    """Return the paths of the arguments and of a list, see `read_path_list`.

    Raises UsageError if there is neither or if the list cannot be used, NoImagesError if it is empty.
    """
    if files_from is None:
        if null_separated:
            raise UsageError("-0 says how a list is separated: name the list with --files-from")
        if not paths:
            raise UsageError("PATHS are missing: name a folder or an image, or a list with --files-from")
        return GivenPaths(expand_globs(paths), [])
    listed = read_path_list(files_from, null_separated)
    if not (paths or listed):
        raise NoImagesError(f"No images found: {_describe_list(files_from)} is empty")
    if listed and not any(map(os.path.lexists, listed)):
        raise UsageError(
            f"none of the paths in {_describe_list(files_from)} exists, such as {str(listed[0])!r}: name "
            "one path a line, relative ones from the current folder"
        )
    return GivenPaths(expand_globs(paths), listed)


def expand_globs(paths: Iterable[Path], shell_expands_globs: bool = _SHELL_EXPANDS_GLOBS) -> list[Path]:
    """Return the paths, with those that match in the place of a glob, sorted, unless the shell did that.

    A path that exists is no glob, whatever its name. A glob that nothing matches stays, as in a shell.
    """
    if shell_expands_globs:
        return [*paths]
    expanded: list[Path] = []
    for path in paths:
        matches = [] if os.path.lexists(path) else glob.glob(str(path))  # noqa: PTH207  # relative ones stay so
        expanded += map(Path, sorted(matches, key=os.fsencode)) if matches else [path]
    return expanded


def read_path_list(source: str, null_separated: bool) -> list[Path]:
    """Return the paths in a file, or on stdin if `source` is "-": one a line, or each ended by a NUL byte.

    Empty lines are left out. Lines may end as on Windows, and the text may have the marks that its editors
    write (UTF-8, UTF-16). Raises UsageError if the file cannot be read or is no such list.
    """
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{_describe_list(source)} cannot be read: {error.strerror or error}. "
            "Name a text file with --files-from, or - for stdin"
        ) from None
    if null_separated:
        names = data.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in _to_utf8(data, source).split(b"\n")]
    return [Path(os.fsdecode(name)) for name in names if name]


def _to_utf8(data: bytes, source: str) -> bytes:
    """Return the text of a list without its mark, in UTF-8 if that says UTF-16, as PowerShell writes it."""
    if data.startswith(_UTF16_MARKS):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError:
            raise UsageError(f"{_describe_list(source)} is no text: its UTF-16 is damaged") from None
    if b"\0" in data:
        raise UsageError(
            f"{_describe_list(source)} holds NUL bytes: if they separate the paths, as those of find -print0 "
            "do, add -0"
        )
    return data.removeprefix(codecs.BOM_UTF8)


def _describe_list(source: str) -> str:
    return "the list on stdin" if source == STDIN else repr(source)
