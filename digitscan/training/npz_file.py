"""Reading `.npz` files of plain arrays that may come from anybody.

NumPy's own reader allocates what a header declares, and raises a dozen kinds of exceptions for forged
headers and archives. Here the declared shape must be exactly what the archive holds before anything is
allocated, and everything that is wrong with a file is one exception. No pickled object is loaded.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_COMPRESSION_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What `numpy.savez` and `numpy.savez_compressed` write. Others, such as LZMA, may take much memory."""
_ENCRYPTED_FLAG = 0x1
_MAX_MESSAGE_LENGTH = 200


class NpzError(Exception):
    """A file is no `.npz` of plain arrays, or is damaged; the message is a short phrase."""


class NpzFile:
    """The arrays of an open `.npz` file by name."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the names of the arrays, and no array. Raises NpzError."""
        with _as_npz_error():
            self._archive = zipfile.ZipFile(file)
            self._members = {
                member.filename.removesuffix(".npy"): member for member in self._archive.infolist()
            }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays, in the order of the file."""
        return tuple(self._members)

    @property
    def unpacked_bytes(self) -> int:
        """The bytes that all arrays together are said to have; `read` never reads more."""
        return sum(member.file_size for member in self._members.values())

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, contiguous in C's order and read-only.

        Raises NpzError for an array that is missing, damaged, encrypted or of Python objects.
        """
        with _as_npz_error():
            return _read_member(self._archive, self._members[name])


@contextlib.contextmanager
def _as_npz_error() -> Iterator[None]:
    """Raise NpzError in place of any exception.

    There is no list of what `zipfile`, `zlib`, `ast` and NumPy raise for forged files: for a shape of 10^20
    it is OverflowError, for a parenthesis that is never closed TokenError.
    """
    try:
        yield
    except NpzError:
        raise
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise NpzError(reason[:_MAX_MESSAGE_LENGTH]) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise NpzError(f"{info.filename} is encrypted")
    if info.compress_type not in _COMPRESSION_METHODS:
        raise NpzError(f"{info.filename} is compressed with another method than NumPy's")
    with archive.open(info) as member:
        shape, is_fortran_order, dtype = _read_header(member)
        if dtype.hasobject:
            raise NpzError(f"{info.filename} holds Python objects")
        expected_bytes = math.prod(shape) * dtype.itemsize
        actual_bytes = info.file_size - member.tell()
        if expected_bytes != actual_bytes:
            raise NpzError(
                f"{info.filename} declares the shape {shape}, which is {expected_bytes} bytes, "
                f"but it has {actual_bytes}"
            )
        data = member.read()
    array = np.frombuffer(data, dtype)
    if is_fortran_order:
        return np.asarray(array.reshape(shape[::-1]).T, order="C")
    return array.reshape(shape)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and dtype; NumPy limits the length of a header."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise NpzError(f"the version {version} of the .npy format is not supported")
