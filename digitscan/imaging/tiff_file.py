"""The directories of a TIFF: which of them are pages, and what kind of picture each one holds.

A TIFF is a chain of image file directories. Each describes one picture: a page, a reduced copy of another
one, or a mask. Specifications: "TIFF Revision 6.0" and BigTIFF.
"""

from __future__ import annotations

import io
import struct
from typing import IO, NamedTuple

COMPRESSION = 259
"""The tag that says how the pixels are compressed."""

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_REDUCED_OR_MASK = 0b101
"""Bits of the subfile type: a reduced copy of another picture, a mask of another picture."""
_OLD_REDUCED = 2
_MAX_DIRECTORIES = 0xFFFF
"""No more are looked at: a small file may hold millions."""
_BIG_VERSION = 43
_SHORT, _LONG = 3, 4


class _Layout(NamedTuple):
    """How a TIFF, or a BigTIFF, stores its numbers."""

    offset_at: int
    """Where the offset of the first directory is."""
    offset: struct.Struct
    length: struct.Struct
    """Of a directory's number of entries."""
    entry: struct.Struct
    """Tag, type, number of values, and the values themselves if they fit."""
    tag: struct.Struct
    """A tag, or a number of 16 bits."""
    long: struct.Struct


class Directory(NamedTuple):
    """One image file directory."""

    offset: int
    """Where it begins."""
    entries: bytes
    """Its entries as they are stored."""
    next_offset: int
    """Where the next one begins; 0 if it is the last."""
    layout: _Layout

    def get(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag that is a number of 16 or 32 bits and stands in its entry."""
        key = self.layout.tag.pack(tag)
        start = self.entries.find(key)
        while start >= 0 and start % self.layout.entry.size:
            start = self.entries.find(key, start + 1)
        if start < 0:
            return default
        _, kind, _, data = self.layout.entry.unpack_from(self.entries, start)
        number = {_SHORT: self.layout.tag, _LONG: self.layout.long}.get(kind)
        return int(number.unpack_from(data)[0]) if number else default

    @property
    def is_page(self) -> bool:
        """Whether it is a picture of its own, and no reduced copy or mask of another one."""
        return not (self.get(_SUBFILE_TYPE) & _REDUCED_OR_MASK or self.get(_OLD_SUBFILE_TYPE) == _OLD_REDUCED)


def find_pages(file: IO[bytes], max_pages: int = _MAX_DIRECTORIES) -> list[int]:
    """Return the offset of the directory of each page, in order; the first one's if none is a page.

    No more than `max_pages` are looked for. A directory that cannot be read is a page, so that whoever
    decodes it says why; the chain ends there.
    Empty if there is no offset of a first directory.
    """
    layout = _read_layout(file)
    offset = _read_number(file, layout.offset, layout.offset_at)
    if offset and _is_last(file, layout, offset):  # as in most files: whatever it says, it is the page
        return [offset]
    first, seen = offset, set[int]()
    pages: list[int] = []
    while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES and len(pages) < max_pages:
        seen.add(offset)
        directory = _read_directory(file, layout, offset)
        if directory is None or directory.is_page:
            pages.append(offset)
        offset = directory.next_offset if directory else 0
    return pages or ([first] if first else [])


def read_first_directory(file: IO[bytes]) -> Directory | None:
    """Return the directory that the header names; None if it cannot be read."""
    layout = _read_layout(file)
    return _read_directory(file, layout, _read_number(file, layout.offset, layout.offset_at))


def select_directory(file: IO[bytes], offset: int) -> IO[bytes]:
    """Return the same TIFF with the directory at an offset as its first one.

    Decoders go through all directories before the one that they are asked for; the first they find at once.
    """
    layout = _read_layout(file)
    if _read_number(file, layout.offset, layout.offset_at) == offset:
        file.seek(0)
        return file
    file.seek(0)
    header = file.read(layout.offset_at) + layout.offset.pack(offset)
    return io.BufferedReader(_FileWithHeader(file, header))


def _create_layout(order: str, is_big: bool) -> _Layout:
    codes = ("Q", "Q", "HHQ8s", "H", "I") if is_big else ("I", "H", "HHI4s", "H", "I")
    return _Layout(8 if is_big else 4, *(struct.Struct(order + code) for code in codes))


_LAYOUTS = {(order, is_big): _create_layout(order, is_big) for order in "<>" for is_big in (False, True)}


def _read_layout(file: IO[bytes]) -> _Layout:
    file.seek(0)
    head = file.read(4)
    return _LAYOUTS["<" if head.startswith(b"II") else ">", _BIG_VERSION in head[2:]]


def _is_last(file: IO[bytes], layout: _Layout, offset: int) -> bool:
    """Tell whether the directory at an offset can be read, and none follows it."""
    try:
        count = _read_number(file, layout.length, offset)
        file.seek(offset + layout.length.size + count * layout.entry.size)
        data = file.read(layout.offset.size)
    except (OSError, ValueError, OverflowError):  # an offset that no file can have
        return False
    return len(data) == layout.offset.size and not any(data)


def _read_number(file: IO[bytes], number: struct.Struct, position: int) -> int:
    """Return an unsigned number in a file; 0 if the file ends before it."""
    file.seek(position)
    data = file.read(number.size)
    return int(number.unpack(data)[0]) if len(data) == number.size else 0


def _read_directory(file: IO[bytes], layout: _Layout, offset: int) -> Directory | None:
    """Return the directory at an offset, None if it cannot be read."""
    try:
        count = _read_number(file, layout.length, offset)
    except (OSError, ValueError, OverflowError):  # an offset that no file can have
        return None
    if not 0 < count <= 0xFFFF:
        return None
    entries = file.read(count * layout.entry.size)
    if len(entries) < count * layout.entry.size:
        return None
    end = offset + layout.length.size + len(entries)
    return Directory(offset, entries, _read_number(file, layout.offset, end), layout)


class _FileWithHeader(io.RawIOBase):
    """A file whose first bytes are others. Only the files of this module are read through it."""

    def __init__(self, file: IO[bytes], header: bytes) -> None:
        self._file, self._header = file, header
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset = self._file.seek(offset, whence)
        if offset < 0:
            raise ValueError(offset)
        self._position = offset
        return offset

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer in typeshed
        if self._position < len(self._header):
            data = self._header[self._position : self._position + len(buffer)]
        else:
            self._file.seek(self._position)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
