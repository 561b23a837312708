"""Labelled images: a folder with a subfolder for each label, or a CSV that says what each image shows."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from digitscan.csv_cells import (
    NUMBER_COLUMN,
    detect_delimiter,
    has_numbers,
    restore_number,
    skip_separator_line,
    unescape_formula,
)
from digitscan.errors import DataError, DigitscanError, ImageError
from digitscan.evaluation.metrics import FIRST_NUMBER, NO_DIGIT
from digitscan.prediction import add_page, is_number, name_to_path
from digitscan.system.file_filter import is_leftover
from digitscan.system.files import describe_os_error, open_regular_file
from digitscan.workers.page_counter import list_pages
from digitscan.workers.protocol import FileLocation

NO_DIGIT_LABEL = "none"
"""The label of an image that shows no digit: a subfolder's name, or a cell."""
NO_DIGIT_KEY = "x"
"""What people may type for it, because it is the key on the review page."""
PATH_COLUMN = "path"
CORRECTED_COLUMN = "corrected"
"""What people say is right, in the CSV of a scan."""
LABEL_COLUMNS = ("label", CORRECTED_COLUMN)
"""The names of the column with the labels; the first that there is counts. `digit` is what was read."""
MAX_CSV_BYTES = 1 << 30


class WholeNumberError(DataError):
    """A label is a whole number, where labels of single digits are needed."""


class NumberLabels:
    """The label of each whole number that is met, as `LabelledFile` and `Answers` have them."""

    def __init__(self) -> None:
        """Begin with no number, whose label is NO_DIGIT."""
        self._labels: dict[str, int] = {"": NO_DIGIT}

    @overload
    def encode(self, number: str) -> int: ...
    @overload
    def encode(self, number: str | None) -> int | None: ...
    def encode(self, number: str | None) -> int | None:
        """Return the label that stands for a number, NO_DIGIT for ""; None for None, which is no label."""
        return None if number is None else self._labels.setdefault(number, NO_DIGIT + len(self._labels))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers so far, of which the first has the label FIRST_NUMBER."""
        return tuple(self._labels)[FIRST_NUMBER - NO_DIGIT :]


@dataclass(frozen=True)
class LabelledFile:
    """An image file and what it shows."""

    path: Path
    label: int
    """0 to 9, or NO_DIGIT; of a whole number, what its NumberLabels give."""
    page: int = 0
    """Which of its pages, as in ImageFile."""

    @property
    def location(self) -> FileLocation:
        """The file as a worker opens it."""
        return FileLocation(os.fspath(self.path), page=self.page)

    @property
    def name(self) -> str:
        """What messages call it: its path with its page, as in a scan's CSV."""
        name = self.path.as_posix()
        return add_page(name, self.page) if self.page else name


def list_labelled_pages(files: Sequence[LabelledFile]) -> list[LabelledFile]:
    """Return the files, with each page of those that have several in the place of the file.

    Raises DataError if no worker can be kept alive.
    """
    try:
        all_pages = list_pages([file.location for file in files])
    except DigitscanError as error:
        raise DataError(str(error)) from error
    return [
        LabelledFile(file.path, file.label, page.page)
        for file, pages in zip(files, all_pages, strict=True)
        for page in pages
    ]


def list_labelled_folder(folder: Path, numbers: NumberLabels | None = None) -> list[LabelledFile]:
    """Return the files of the subfolders `0` to `9` and `none`, in an order that is the same everywhere.

    With the labels of `numbers`, those of each subfolder that is named as a number, such as `407`. Raises
    DataError if there is no such file, WholeNumberError if there are subfolders of numbers where digits are
    needed, and OSError where a folder cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir() if is_number(path.name) and path.is_dir())
    if numbers is None:
        labels = {name: int(name) for name in names if len(name) == 1}
    else:
        labels = {name: numbers.encode(name) for name in names}
    labels[NO_DIGIT_LABEL] = NO_DIGIT
    files = [
        LabelledFile(path, label)
        for name, label in labels.items()
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir(), key=lambda path: path.name)
        if not path.is_dir() and not is_leftover(path)
    ]
    if not files:
        has_numbers_only = numbers is None and any(len(name) > 1 for name in names)
        what, example = ("digit", "7") if numbers is None else ("number", "407")
        message = (
            f"{folder} has no labelled images: expected a subfolder for each {what}, such as "
            f"{folder / example / 'a.png'}, or --truth with a CSV of labels"
        )
        raise (WholeNumberError if has_numbers_only else DataError)(message)
    return files


def read_truth(truth: Path, folder: Path, numbers: NumberLabels | None = None) -> list[LabelledFile]:
    """Return the images that a CSV labels, also with whole `numbers`; its paths are relative to the folder.

    A row with an empty label is left out. Raises DataError for a CSV that cannot be used, WholeNumberError
    for whole numbers without `numbers`.
    """
    table = read_table(truth)
    label_column = next((name for name in LABEL_COLUMNS if name in table.columns), None)
    if PATH_COLUMN not in table.columns or label_column is None:
        raise DataError(
            f"{truth} needs a column named path and one named label; it has {', '.join(table.columns)}"
        )
    return collect_labelled_files(
        table, truth, label_column, lambda row: _find_file(folder, row[PATH_COLUMN]), numbers
    )


def collect_labelled_files(
    table: Table,
    csv_path: Path,
    label_column: str,
    find_picture: Callable[[dict[str, str]], FileLocation],
    numbers: NumberLabels | None = None,
) -> list[LabelledFile]:
    """Return the images of a table that have a label in a column; `find_picture` says where that of a row is.

    `numbers` gives the labels of whole numbers. Raises DataError for a label that is none, for two labels of
    one image, and where no image has one; WholeNumberError for a whole number without `numbers`.
    """
    is_scan_of_numbers = label_column == CORRECTED_COLUMN and has_numbers(table.columns)
    if is_scan_of_numbers and numbers is None:
        raise WholeNumberError(f"{csv_path} holds whole numbers: here labels of single digits are needed")
    files: dict[str, LabelledFile] = {}
    for line, row in table.rows:
        name = row[PATH_COLUMN]
        if numbers is None:
            label = parse_label(row[label_column], csv_path, line)
        elif is_scan_of_numbers:
            label = numbers.encode(restore_numbers(row, csv_path, line)[0])
        else:
            label = numbers.encode(parse_number(row[label_column], csv_path, line))
        if label is None:
            continue
        place = find_picture(row)
        if files.setdefault(name, LabelledFile(Path(place.path), label, place.page)).label != label:
            raise DataError(
                f"{csv_path}, line {line}: {name} has two different labels: remove one of the rows"
            )
    if not files:
        raise DataError(f"{csv_path} labels no image: its column {label_column} is empty")
    return list(files.values())


def _find_file(folder: Path, cell: str) -> FileLocation:
    """Return the path in a cell, which may have the escapes and the page that a scan writes."""
    path = folder / cell
    if os.path.lexists(path):
        return FileLocation(os.fspath(path))
    text = unescape_formula(cell)
    for is_utf8 in (True, False):
        name, page = name_to_path(text, is_utf8)
        escaped = folder / os.fsdecode(name)
        if os.path.lexists(escaped):
            return FileLocation(os.fspath(escaped), page=page)
    return FileLocation(os.fspath(path))


def parse_label(cell: str, path: Path, line: int) -> int | None:
    """Return the label in a cell, None if it is empty.

    Raises DataError, with the line, for anything else; WholeNumberError for a number of several digits.
    """
    text = cell.strip().lower()
    if not text:
        return None
    if text in {NO_DIGIT_LABEL, NO_DIGIT_KEY}:
        return NO_DIGIT
    # A spreadsheet may have made a decimal number of it.
    digit = text.removesuffix(".0").removesuffix(",0")
    if len(digit) == 1 and digit in "0123456789":
        return int(digit)
    raise (WholeNumberError if is_number(digit) else DataError)(
        f"{path}, line {line}: {cell!r} is no label: expected 0 to 9, {NO_DIGIT_LABEL} for no digit, "
        "or an empty cell"
    )


def parse_number(cell: str, path: Path, line: int) -> str | None:
    """Return the number in a cell, "" where it says that there is none, None if it is empty.

    Raises DataError, with the line, for anything else.
    """
    text = cell.strip().lower()
    if not text:
        return None
    if text in {NO_DIGIT_LABEL, NO_DIGIT_KEY}:
        return ""
    number = restore_number(text, "")  # without the decimals that a spreadsheet adds
    if is_number(number):
        return number
    raise DataError(
        f"{path}, line {line}: {cell!r} is no number: expected digits, {NO_DIGIT_LABEL} for no number, "
        "or an empty cell"
    )


def restore_numbers(cells: dict[str, str], path: Path, line: int) -> tuple[str | None, str | None]:
    """Return what is right and what was read in a row of a scan of numbers, as `parse_number` does.

    Where a spreadsheet has taken the leading zeros from what was read, it has done so with what is right.
    Raises DataError.
    """
    note = cells.get("note", "")
    cell = cells[NUMBER_COLUMN]
    whole = restore_number(cell, note)
    corrected = cells.get(CORRECTED_COLUMN, "")
    if whole != cell.strip():
        corrected = restore_number(corrected, note)
    return parse_number(corrected, path, line), parse_number(whole, path, line)


@dataclass(frozen=True)
class Table:
    """A CSV: its columns, and its rows with the line in which each ends."""

    header: tuple[str, ...]
    """The names of the columns as they are in the file."""
    columns: tuple[str, ...]
    """The same in lower case, by which the cells of a row are named."""
    rows: list[tuple[int, dict[str, str]]]
    digest: str
    """The SHA-256 of the file."""
    has_mark: bool
    """Whether it begins with the mark by which Excel recognizes UTF-8."""


def read_table(path: Path) -> Table:
    """Return a CSV as people and spreadsheets save it.

    Cells are separated by commas, semicolons, tabs or bars; the mark by which Excel recognizes UTF-8 is
    skipped, cells that are missing at the end of a row are empty. Raises DataError for anything else.
    """
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as CSV in UTF-8") from None
    text = skip_separator_line(text)
    delimiter = detect_delimiter(text.partition("\n")[0])
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = _strip_nameless_end(next(lines, []))
        columns = tuple(name.lower() for name in header)
        if not any(columns):
            raise DataError(f"{path} is empty")
        if len(set(columns)) < len(columns):
            raise DataError(f"{path} has two columns of one name: rename one of them")
        rows = [
            (lines.line_num, _name_cells(columns, cells, path, lines.line_num))
            for cells in lines
            if any(cells)
        ]
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: it is no CSV ({error})") from None
    digest, has_mark = hashlib.sha256(data).hexdigest(), data.startswith(codecs.BOM_UTF8)
    return Table(header, columns, rows, digest, has_mark)


def _read_bytes(path: Path) -> bytes:
    try:
        with io.BufferedReader(open_regular_file(os.fspath(path))) as file:
            data = file.read(MAX_CSV_BYTES + 1)
    except ImageError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {describe_os_error(error)}") from None
    if len(data) > MAX_CSV_BYTES:
        raise DataError(f"{path} is too large for a CSV of labels")
    return data


def _strip_nameless_end(header: list[str]) -> tuple[str, ...]:
    """Return the names of the columns, without nameless ones at the end: spreadsheets add such."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _name_cells(columns: tuple[str, ...], cells: list[str], path: Path, line: int) -> dict[str, str]:
    """Return the cells of a row by their columns. Raises DataError for one that is in no column."""
    if any(cells[len(columns) :]):
        raise DataError(f"{path}, line {line}: a row has more cells than the first line has names")
    missing = [""] * (len(columns) - len(cells))
    return dict(zip(columns, [*cells, *missing], strict=False))
