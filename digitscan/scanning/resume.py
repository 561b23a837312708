"""Going on with a scan that was cut short: what must agree, what its CSV holds, what is left to read.

The CSV's last whole record is the truth about how far a scan came. Beside it, `FILE.json`, written before
the first row, holds what the rows depend on: a scan goes on only with the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from digitscan.errors import OutputError
from digitscan.model.compiled_cache import write_atomically
from digitscan.scanning.discovery import NOT_UTF8, Found
from digitscan.scanning.output.csv_format import PROBABILITY_COLUMNS, Layout, Prediction

RECORD_VERSION = 1
_LARGEST_RECORD = 1 << 20
_PIECE = 1 << 20

Key = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Record:
    """What the rows of a scan depend on; each field's name is what a refusal calls it.

    roots: the paths given, by which rows begin; none for a folder alone. places: where they lead. What is not
    UTF-8 in them is written as Python does, in lone surrogates.
    """

    digitscan: str
    roots: tuple[str, ...]
    places: tuple[str, ...]
    model: str
    quick_model: str | None
    preprocess_version: int
    input_maximum: float
    min_confidence: float | None
    max_megapixels: float
    columns: tuple[str, ...]
    raw: bool
    excel: bool

    @property
    def layout(self) -> Layout:
        """How its rows are written."""
        return Layout(PROBABILITY_COLUMNS[0] in self.columns, self.raw, self.excel)

    def to_json(self) -> bytes:
        """Return the record as it stands beside the CSV."""
        values = {"digitscan_scan": RECORD_VERSION, **dataclasses.asdict(self)}
        return (json.dumps(values, indent=1) + "\n").encode("ascii")


def record_path(output: Path) -> Path:
    """Return where the record of a CSV stands: `rows.csv` has `rows.csv.json`."""
    return output.with_name(output.name + ".json")


def begin_anew(output: Path, file: BinaryIO, record: Record) -> None:
    """Empty an open CSV and put its new record beside it, safe on the disk.

    Old rows are lost only when all is ready for new ones. Raises OutputError if something that is no record
    stands there, OSError where it cannot be written.
    """
    beside = record_path(output)
    if os.path.exists(beside) and not _is_record(beside):
        raise OutputError(f"{beside} is in the way: name another output with -o")

    def empty() -> None:
        if os.fstat(file.fileno()).st_size:
            file.truncate(0)
            os.fsync(file.fileno())

    write_atomically(beside, record.to_json(), empty)


def _is_record(path: Path) -> bool:
    """Tell whether a file is a scan's record, and so ours to replace."""
    try:
        return "digitscan_scan" in _values(path)
    except OutputError:
        return False


def check_record(output: Path, now: Record) -> None:
    """Raise OutputError, saying what differs, unless the CSV's record agrees with the scan to go on."""
    path = record_path(output)
    before = _values(path)
    if before.get("digitscan_scan") != RECORD_VERSION:
        raise OutputError(f"{path} is not the record of a scan of this version: scan again with --overwrite")
    wanted = json.loads(now.to_json())
    different = [name for name in wanted if wanted[name] != before.get(name)]
    if different:
        changes = ", ".join(
            f"{name.replace('_', ' ')} was {_short(before.get(name))} and is {_short(wanted[name])}"
            for name in different
        )
        raise OutputError(
            f"{output} was made otherwise: {changes}. Go on with the same, or name another file with -o"
        )


def _values(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LARGEST_RECORD))
    except FileNotFoundError:
        raise OutputError(
            f"{path} is missing, so nobody knows how these rows were made: scan again with --overwrite"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read ({error}): scan again with --overwrite") from None
    if not isinstance(values, dict):
        raise OutputError(f"{path} is not the record of a scan: scan again with --overwrite")
    return values


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def cut_to_whole_records(file: IO[bytes]) -> int:
    """Cut what a killed scan left of its last record; return the bytes that stay. Raises OSError.

    A record ends with a newline that no quotes enclose; in our CSVs every quote has its partner.
    """
    file.seek(0)
    position = whole = quotes = 0
    while piece := file.read(_PIECE):
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            quotes += piece.count(b'"', start, end)
            start = end + 1
            if quotes % 2 == 0:
                whole = position + start
        quotes += piece.count(b'"', start)
        position += len(piece)
    file.truncate(whole)
    file.seek(whole)
    return whole


class Rest:
    """What is left to read, in order: the files found, without those that have a row.

    `appeared` counts the files that came into the folder before the point the scan had reached: they are
    not read, because their rows would stand out of order. `example` is the first of them.
    """

    def __init__(self, found: Iterable[Found], rows: Iterable[Prediction], roots: Sequence[str]) -> None:
        """Take files and rows, both in a scan's order; `roots` are those of the record."""
        self.appeared = 0
        self.example = ""
        self._found, self._rows, self._roots = found, rows, roots

    def __iter__(self) -> Iterator[Found]:
        """Yield the files to read; consumes all rows first."""
        place_of_row, place_of_file = _Places(self._roots), _Places(self._roots)
        rows = iter(self._rows)

        def next_place() -> tuple[int, Key] | None:
            row = next(rows, None)
            if row is None:
                return None
            return place_of_row.of(exact_name(row.path, NOT_UTF8 not in row.note))

        found = iter(self._found)
        waiting = next_place()
        if waiting is None:
            yield from found
        for file in found:
            place = place_of_file.of(exact_name(file.name, NOT_UTF8 not in file.notes))
            while waiting is not None and waiting < place:
                waiting = next_place()
            if waiting is None:
                yield file
            elif waiting == place:
                waiting = next_place()
            else:
                self.appeared += 1
                self.example = self.example or file.name
        while waiting is not None:
            waiting = next_place()


class _Places:
    """The place of each name in a scan's order: which of the paths given, and where below it."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [os.fsencode(root).rstrip(b"/") for root in roots]
        self._number = 0
        self._before: Key | None = None

    def of(self, name: bytes) -> tuple[int, Key]:
        key = _key(name)
        if len(self._roots) < 2:
            return 0, key
        # Names come in the order of the roots: one that does not fit, or goes back, is of a later root.
        while self._number < len(self._roots) - 1 and not self._fits(name, key):
            self._number += 1
            self._before = None
        self._before = key
        return self._number, key

    def _fits(self, name: bytes, key: Key) -> bool:
        root = self._roots[self._number]
        below = name == root or name.startswith(root + b"/")
        return below and (self._before is None or self._before < key)


def _key(name: bytes) -> Key:
    """Return what sorts as a walk does: a folder's files before its subfolders, each by its bytes."""
    *folders, file = name.split(b"/")
    return (*((1, folder) for folder in folders), (0, file))


def exact_name(shown: str, is_exact: bool) -> bytes:
    """Return the bytes of the name that `find.shown_name` made this text of."""
    if is_exact:
        return shown.encode()
    return re.sub(rb"\\(\\|x[0-9a-f]{2})", _exact, shown.encode())


def _exact(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return b"\\" if code == b"\\" else bytes([int(code[1:], 16)])
