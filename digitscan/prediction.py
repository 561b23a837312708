"""One row of the result, and the file that it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a person should think of a row."""

    OK = "ok"
    REVIEW = "review"
    NO_DIGIT = "no-digit"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row: what was read from one file.

    path: the row's name for the file. digit 0-9 and its calibrated confidence 0..1, both None where
    status is NO_DIGIT or ERROR. note: what was done and seen, or why the file failed. probabilities:
    of the ten digits, where they were asked for and the network was.
    """

    path: str
    digit: int | None
    confidence: float | None
    status: Status
    note: str = ""
    probabilities: tuple[float, ...] | None = None


NOT_UTF8 = "name is not UTF-8"
"""The note of a file whose name is shown with escapes."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file that will have a row.

    path: what to open. name: the row's `path` cell. notes: what to say about the name itself.
    """

    path: str
    name: str
    notes: tuple[str, ...] = ()


def path_to_text(name: bytes) -> tuple[str, bool]:
    r"""Return a name as text, and whether it was UTF-8; if not, bad bytes become \xNN and \ is doubled."""
    try:
        return name.decode(), True
    except UnicodeDecodeError:
        return name.replace(b"\\", b"\\\\").decode(errors="backslashreplace"), False


def text_to_path(shown: str, is_exact: bool) -> bytes:
    """Return the bytes of the name that `find.path_to_text` made this text of."""
    if is_exact:
        return shown.encode()
    return re.sub(rb"\\(\\|x[0-9a-f]{2})", _exact, shown.encode())


def _exact(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return b"\\" if code == b"\\" else bytes([int(code[1:], 16)])
