"""What the cells of a CSV hold and what separates them, as spreadsheets write and read it.

What a spreadsheet would run as a formula is made harmless, and back: text that begins like a formula gets a
`'` in front (OWASP, "CSV Injection"; CWE-1236), because a file name must not run code. Many spreadsheets
split at semicolons, tabs or bars, and then no quotes protect a cell, so the `'` is also put behind each of
these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A formula, also in full-width letters, after blanks or quotes. Tabs and line ends are no blanks here: they
# separate cells, and long runs of them must not be searched again and again.
_FORMULA = r"""(?:[^\S\t\r\n]|["'])*[=+\-@\uff1d\uff0b\uff0d\uff20]"""
SEPARATOR = r"[,;|\t\r\n]"
"""What separates cells or lines in some spreadsheet, as a pattern."""
_HAS_SEPARATOR = re.compile(SEPARATOR)
# Where a `'` is put: a `'` of the text itself gets another, so that ours can be told from it.
STARTS_FORMULA = re.compile(rf"'|{_FORMULA}")
"""What needs a `'` at the beginning of a cell, as a pattern."""
_FORMULA_STARTS = re.compile(rf"\A(?=[\t\r\n'])|(?:\A|(?<={SEPARATOR}))(?={_FORMULA})")
_ESCAPES = re.compile(rf"\A'|(?<={SEPARATOR})'(?={_FORMULA})")


_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"\Asep=.\r?\n")


def detect_delimiter(first_line: str, columns: Iterable[str] = ()) -> str:
    """Return what separates the cells of a CSV, from its first line.

    `columns` are names that should be there: those that people give their columns may hold other separators.
    """

    def count(delimiter: str) -> tuple[int, int]:
        cells = {cell.strip().strip('"').lower() for cell in first_line.split(delimiter)}
        return len(cells.intersection(columns)), first_line.count(delimiter)

    return max(_DELIMITERS, key=count)


def skip_separator_line(text: str) -> str:
    """Return the text of a CSV without the line by which Excel is told what separates the cells."""
    return _SEPARATOR_LINE.sub("", text)


DIGIT_COLUMN, NUMBER_COLUMN = "digit", "number"
"""The names of the column with what was read: a single digit, or a whole number."""
_LEADING_ZEROS = "with leading zeros: "
# The first note of that kind, but not what a note `before: ...` says of an older reading.
_LEADING_ZEROS_NOTE = re.compile(rf"\A(?:(?!before: )[^;]*; )*{_LEADING_ZEROS}(0[0-9]+)(?=;|\Z)")


def has_numbers(columns: Iterable[str]) -> bool:
    """Tell from the columns of a scan's CSV, in lower case, whether whole numbers were read."""
    names = {*columns}
    return NUMBER_COLUMN in names and DIGIT_COLUMN not in names


def note_leading_zeros(number: str) -> tuple[str, ...]:
    """Return the note of a number that a spreadsheet would cut, from which `restore_number` has it whole.

    >>> note_leading_zeros("007"), note_leading_zeros("70"), note_leading_zeros("0")
    (('with leading zeros: 007',), (), ())
    """
    return (_LEADING_ZEROS + number,) if len(number) > 1 and number.startswith("0") else ()


def restore_number(cell: str, note: str) -> str:
    """Return the number of a cell that a spreadsheet may have made another of: `7` or `7.0` of `007`.

    The leading zeros are in the note. A cell in which a person has written another number stays as it is.

    >>> restore_number("7.0", "faint; with leading zeros: 007")
    '007'
    """
    number = cell.strip().removesuffix(".0").removesuffix(",0")
    noted = _LEADING_ZEROS_NOTE.search(note)
    return noted[1] if noted and number == (noted[1].lstrip("0") or "0") else number


def escape_formula(text: str) -> str:
    """Return the text as a cell that no spreadsheet runs: with `'` before what looks like a formula.

    >>> escape_formula("=1+1.png")
    "'=1+1.png"
    >>> escape_formula("a;=1+1.png")
    "a;'=1+1.png"
    """
    if _HAS_SEPARATOR.search(text):
        return _FORMULA_STARTS.sub("'", text)
    return f"'{text}" if STARTS_FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` turned into this cell."""
    return _ESCAPES.sub("", cell)
