"""What one row of the result holds, and the file that it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

NOT_UTF8 = "name is not UTF-8"
"""The note of a file whose name had to be shown with escapes, see `path_to_text`."""
MAX_NUMBER_DIGITS = 1024
"""The most digits of a number: more than any picture of a line has."""


_PAGE = re.compile(r"(?<!#)((?:##)*)#([1-9][0-9]{0,8})\Z")
"""The end of the name of a page: an odd number of `#`, and the page's number."""
_LIKE_A_PAGE = re.compile(r"(#+)([0-9]*)\Z")
"""The end of a path that is like that of a page: each `#` of it is doubled."""
_DOUBLED = re.compile(r"(?<!#)((?:##)+)([0-9]*)\Z")


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
    """The file, with forward slashes: relative to the scanned folder; as given if several paths were.

    A page of a file with several is `forms.tif#2`; a file that is named like that is `forms.tif##2`."""
    digit: int | None
    """0 to 9; None if `status` is NO_DIGIT or ERROR, and in a scan of numbers."""
    confidence: float | None
    """The calibrated probability, 0 to 1, that `digit` or all of `number` is right; None if there is none."""
    status: Status
    """Whether a person must look at this row."""
    note: str = ""
    """What was found and changed, between which digits the model doubts, or why there is no digit."""
    probabilities: tuple[float, ...] | None = None
    """The probabilities of the ten digits, if they were asked for and the picture reached the network."""
    number: str | None = None
    """In a scan of numbers, the digits 0-9 with all leading zeros; None if there are none."""
    digit_confidences: tuple[float, ...] | None = None
    """The probability, 0 to 1, that each digit of `number` is right, if they were asked for."""


def is_number(text: str) -> bool:
    """Tell whether text is what a scan reads as a number: 1 to MAX_NUMBER_DIGITS digits 0-9, nothing else.

    >>> is_number("007"), is_number("4.5"), is_number("٣")
    (True, False, False)
    """
    return 0 < len(text) <= MAX_NUMBER_DIGITS and text.isascii() and text.isdigit()


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
    page: int = 0
    """Which of its pages, the first of which is 1; 0 for a file of one page, or before they are counted."""
    first_page: int = 1
    """Of a file with `page` 0, the first page that is still to be read."""


def path_to_name(path: bytes) -> tuple[str, bool]:
    """Return a path as its row shows it, and whether it was UTF-8; `name_to_path` gives it back.

    >>> path_to_name(b"form#2")
    ('form##2', True)
    """
    text, is_utf8 = path_to_text(path)
    return _LIKE_A_PAGE.sub(r"\1\1\2", text, count=1) if "#" in text else text, is_utf8


def name_to_path(name: str, is_utf8: bool) -> tuple[bytes, int]:
    """Return the bytes of the path that a row shows, and its page, 0 if it shows none.

    >>> name_to_path("forms.tif#2", True), name_to_path("form##2", True)
    ((b'forms.tif', 2), (b'form#2', 0))
    """
    page = 0
    if "#" not in name:  # nearly all
        return text_to_path(name, is_utf8), page
    if match := _PAGE.search(name):
        name, page = name[: match.start()] + match[1], int(match[2])
    if match := _DOUBLED.search(name):
        name = name[: match.start()] + match[1][::2] + match[2]
    return text_to_path(name, is_utf8), page


def add_page(name: str, page: int) -> str:
    """Return what a row shows of a page of a file that it shows by this name."""
    return f"{name}#{page}"


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
