"""Tell what files are by their first bytes: the task of a worker process that a walk asks.

A file on a network, or behind a link to one, may block whoever opens it, for ever and beyond the reach of
signals. So the scan's own process opens none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from enum import IntEnum

from digitscan.errors import ImageError
from digitscan.imaging.formats import detect_format, has_image_suffix
from digitscan.system.files import open_regular_file
from digitscan.system.folders import FolderOpener
from digitscan.workers.protocol import FileLocation

_SIGNATURE_BYTES = 32


class FileKind(IntEnum):
    """What a file in a folder is."""

    OTHER = 0
    """No image, by its suffix and its first bytes."""
    IMAGE = 1
    FOLDER = 2
    """A link to a folder."""
    UNREADABLE = 3
    """It cannot be opened, or nobody knows: whoever reads it will say why."""


def detect_kinds(files: Sequence[FileLocation], set_current: Callable[[int], object]) -> list[FileKind]:
    """Return the kinds of some files; `set_current` is called with the index of each before it is opened."""
    folders = FolderOpener()
    kinds = []
    try:
        for index, file in enumerate(files):
            set_current(index)
            try:
                kinds.append(_detect_kind(*folders.locate(file.path, file.folder)))
            except (OSError, ImageError):
                kinds.append(FileKind.UNREADABLE)
    finally:
        folders.close()
    return kinds


def _detect_kind(path: str, dir_fd: int | None) -> FileKind:
    """Return the kind of a file. Raises OSError if it cannot be told."""
    mode = os.stat(path, dir_fd=dir_fd).st_mode
    if stat.S_ISDIR(mode):
        return FileKind.FOLDER
    if has_image_suffix(os.fsencode(path)):
        return FileKind.IMAGE
    if not stat.S_ISREG(mode):
        return FileKind.OTHER
    with open_regular_file(path, dir_fd=dir_fd) as file:
        return FileKind.IMAGE if detect_format(file.read(_SIGNATURE_BYTES)) else FileKind.OTHER
