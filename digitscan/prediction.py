"""What one row of the result holds, and the file that it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

NOT_UTF8 = "name is not UTF-8"
"""The note of a file whose name had to be shown with escapes, see `path_to_text`."""


class Status(StrEnum):
    """Whether a person must look at a row."""

    OK = "ok"
    """A digit, and the model is confident enough."""
    REVIEW = "review"
    """A digit, but a person should look at the picture."""
    NO_DIGIT = "no-digit"
    """Blank, or something else than one digit."""
    ERROR = "error"
    """The file could not be read."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of the result: what was read in one file.

    >>> Prediction("3.png", 3, 0.9981, Status.OK).digit
    3
    """

    path: str
    """The file, with forward slashes: relative to the scanned folder; as given if several paths were."""
    digit: int | None
    """0 to 9; None if `status` is NO_DIGIT or ERROR."""
    confidence: float | None
    """The calibrated probability, 0 to 1, that `digit` is right; None if there is no digit."""
    status: Status
    """Whether a person must look at this row."""
    note: str = ""
    """What was found and changed, between which digits the model doubts, or why there is no digit."""
    probabilities: tuple[float, ...] | None = None
    """The probabilities of the ten digits, if they were asked for and the picture reached the network."""


class Folder(NamedTuple):
    """A folder that a walk has found: the path that was given, and the folders from there."""

    root: str
    """The path that was given, which is opened as it is. Links in it are followed."""
    subpath: str = ""
    """The names of the folders below it, with slashes. It may be longer than a path can be."""


class ImageFile(NamedTuple):
    """A file that gets a row.

    No dataclass: that would take twice the time to make, and a scan makes one for each file.
    """

    path: str
    """The path to open, or the name in `folder`."""
    name: str
    """The path that the row shows."""
    notes: tuple[str, ...] = ()
    """Notes about the name itself, which end the row's note."""
    folder: Folder | None = None
    """The folder that it was found in; None for a file that was named."""


def path_to_text(path: bytes) -> tuple[str, bool]:
    r"""Return a path as text, and whether it was UTF-8.

    If it was not, each byte that does not decode is written as \xNN and each backslash is doubled, so that
    `text_to_path` gives back the same bytes.

    >>> path_to_text(b"caf\xe9.png")
    ('caf\\xe9.png', False)
    """
    try:
        return path.decode(), True
    except UnicodeDecodeError:
        return path.replace(b"\\", b"\\\\").decode(errors="backslashreplace"), False


def text_to_path(text: str, is_utf8: bool) -> bytes:
    """Return the bytes of the path that `path_to_text` turned into this text."""
    if is_utf8:
        return text.encode()
    return re.sub(rb"\\(\\|x[0-9a-f]{2})", _unescape, text.encode())


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return b"\\" if code == b"\\" else bytes([int(code[1:], 16)])
