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
_WHOLE_NUMBER = "in full: "
MIN_ROUNDED_LENGTH = 12
"""Numbers of so many digits or more may be saved as `1.23457E+11`, or with zeros for the last digits."""
# The first note of that kind, but not what a note `before: ...` says of an older reading.
_WHOLE_NUMBER_NOTE = re.compile(rf"\A(?:(?!before: )[^;]*; )*{_WHOLE_NUMBER}([0-9]+)(?=;|\Z)")
_ROUNDED = re.compile(r"[0-9]+(?:[.,][0-9]+)?e\+?[0-9]{1,3}", re.IGNORECASE)


def has_numbers(columns: Iterable[str]) -> bool:
    """Tell from the columns of a scan's CSV, in lower case, whether whole numbers were read.

    The user may have added a column with the other name: what was read comes first.
    """
    names = [name for name in columns if name in (DIGIT_COLUMN, NUMBER_COLUMN)]
    return names[:1] == [NUMBER_COLUMN]


def note_whole_number(number: str) -> tuple[str, ...]:
    """Return the note of a number that a spreadsheet would change, from which `restore_number` has it whole.

    >>> note_whole_number("007"), note_whole_number("70"), note_whole_number("0")
    (('in full: 007',), (), ())
    """
    has_leading_zeros = len(number) > 1 and number.startswith("0")
    return (_WHOLE_NUMBER + number,) if has_leading_zeros or len(number) >= MIN_ROUNDED_LENGTH else ()


def restore_number(cell: str, note: str) -> str:
    """Return the number of a cell that a spreadsheet may have made another of.

    It makes `7` or `7.0` of `007`, and rounds long numbers. The note has such a number in full. A cell in
    which a person has written another number stays as it is.

    >>> restore_number("7.0", "faint; in full: 007"), restore_number("1.23457E+11", "in full: 123456789012")
    ('007', '123456789012')
    """
    number = cell.strip().removesuffix(".0").removesuffix(",0")
    noted = _WHOLE_NUMBER_NOTE.search(note)
    if noted and (number == (noted[1].lstrip("0") or "0") or _is_rounded(number, noted[1])):
        return noted[1]
    return number


def _is_rounded(number: str, whole: str) -> bool:
    """Tell whether a spreadsheet makes `number` of `whole`: as `1.23457E+11`, or with zeros at its end."""
    significant = whole.lstrip("0")
    if len(significant) < MIN_ROUNDED_LENGTH:
        return False
    if _ROUNDED.fullmatch(number):
        mantissa = number.lower().partition("e")[0].replace(",", ".")
        precision = 10.0 ** -len(mantissa.partition(".")[2])
        exponent = len(significant) - 1
        expected = float(f"{significant[0]}.{significant[1:]}")
        return (
            int(number.lower().partition("e")[2]) == exponent and abs(float(mantissa) - expected) <= precision
        )
    kept = 15  # digits that a number of 64 bits keeps
    return (
        number != significant
        and len(number) == len(significant) > kept
        and number.isdigit()
        and not number[kept:].strip("0")
        and abs(int(number) - int(significant)) <= 10 ** (len(significant) - kept)
    )


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
