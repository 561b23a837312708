"""What a scan has written so far, at the end of its manifest: the length and the SHA-256 of the rows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

from digitscan.errors import ImageError
from digitscan.system.files import open_regular_file

# The same number of characters whatever the values, so that they can be updated in place.
_FORMAT = (
    b',\n "written_bytes": %20s,\n "hashed_bytes": %20d,\n "sha256": "%64s",'
    b'\n "complete": %5s,\n "edited": %5s'
)
_PATTERN = re.compile(
    rb',\n "written_bytes": ([ 0-9nul]{20}),\n "hashed_bytes": ([ 0-9]{20}),\n "sha256": "([ 0-9a-f]{64})",'
    rb'\n "complete": ([ a-z]{5}),\n "edited": ([ a-z]{5})'
)
_LENGTH_OF_OLDER_VERSIONS = re.compile(rb'(?<="written_bytes": )[ 0-9nul]{20}')
_MAX_BYTES = 1 << 26
_BYTES_PER_READ = 1 << 20


class WrittenState(NamedTuple):
    """What a scan has written so far."""

    length: int | None
    """The length of the rows; None if no scan has left an incomplete row behind them."""
    hashed_bytes: int
    """How many bytes the digest is of."""
    digest: str
    """Their SHA-256 in hexadecimal; empty if it is not known."""
    is_complete: bool = False
    """Whether the scan came to its end, and no row is missing."""
    is_edited: bool = False
    """Whether people have changed rows, now or before an earlier scan went on with them."""


def format_state(state: WrittenState) -> bytes:
    """Return the state as the last values of a JSON object, without the end of the object."""
    length, is_complete, is_edited = (
        json.dumps(value).encode() for value in (state.length, state.is_complete, state.is_edited)
    )
    return _FORMAT % (length, state.hashed_bytes, state.digest.encode(), is_complete, is_edited)


class StateField:
    """The place in a manifest where the WrittenState is.

    It is updated in place, which takes no flush of the disk: after a power loss it may be an older one, which
    does no harm. Where it cannot be updated, as in the manifests of older versions, it stays as it is.
    """

    def __init__(self, manifest: Path) -> None:
        """Find the field."""
        self._path = manifest
        self._field = b""
        self._position = 0
        self.value: WrittenState | None = None
        """What a scan wrote last; None if that is not known."""
        with contextlib.suppress(ImageError, OSError), open_regular_file(str(manifest), False) as file:
            content = file.read(_MAX_BYTES)
            if match := _PATTERN.search(content):
                self._field, self._position = match[0], match.start()
                digest = match[3].strip().decode()
                is_complete, is_edited = (field.strip() == b"true" for field in (match[4], match[5]))
                self.value = WrittenState(
                    _parse_length(match[1]), int(match[2]), digest, is_complete, is_edited
                )
            elif match := _LENGTH_OF_OLDER_VERSIONS.search(content):
                self.value = WrittenState(_parse_length(match[0]), 0, "")

    @property
    def is_updatable(self) -> bool:
        """Whether the manifest has the place. Those of older versions do not."""
        return bool(self._field)

    def update(self, value: WrittenState) -> None:
        """Store the state, unless the manifest is no longer the one that was opened."""
        if not self._field:
            return
        field = format_state(value)
        with contextlib.suppress(OSError), open(self._path, "r+b", opener=_open_to_update) as file:
            file.seek(self._position)
            if file.read(len(self._field)) == self._field:
                file.seek(self._position)
                file.write(field)
                self._field, self.value = field, value


def _parse_length(field: bytes) -> int | None:
    return int(field) if field.strip().isdigit() else None


def _open_to_update(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


class FileHash:
    """The SHA-256 of the beginning of a file that grows."""

    def __init__(self) -> None:
        """Begin with no bytes."""
        self._hash = hashlib.sha256()
        self.size = 0
        """How many bytes it is of."""

    @property
    def digest(self) -> str:
        """The SHA-256 in hexadecimal."""
        return self._hash.hexdigest()

    def extend(self, file: BinaryIO, end: int) -> None:
        """Read on up to a position of the file, at which the file then is. Raises OSError."""
        file.seek(self.size)
        while self.size < end and (data := file.read(min(_BYTES_PER_READ, end - self.size))):
            self._hash.update(data)
            self.size += len(data)
        file.seek(end)


def is_unchanged(file: BinaryIO, state: WrittenState | None) -> bool:
    """Tell whether an open file is as a scan left it. Raises OSError.

    The last rows of a killed scan are not in the digest: it is enough that what is before them is unchanged.
    """
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        return True
    if state is None or not 0 < state.hashed_bytes <= size:
        return False
    if state.length is None and state.hashed_bytes < size:
        return False
    content = FileHash()
    content.extend(file, state.hashed_bytes)
    file.seek(size)
    return content.digest == state.digest
