"""The rows of a scan's CSV as people review them: all cells as they are, and where the pictures are now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from digitscan.csv_cells import unescape_formula
from digitscan.errors import DataError
from digitscan.evaluation.labels import parse_label, read_table
from digitscan.prediction import NOT_UTF8, Status, text_to_path

NEEDED_COLUMNS = ("path", "digit", "confidence", "status", "note")
CORRECTED_COLUMN = "corrected"


@dataclass(frozen=True)
class ReviewedRows:
    """The rows of a CSV."""

    columns: tuple[str, ...]
    """The names of the columns as they are in the file."""
    cells: list[list[str]]
    """The cells of each row."""
    paths: list[Path]
    """The picture of each row, where it should be now."""
    ok_indices: list[int]
    """The rows with status `ok`."""
    digest: str
    """The SHA-256 of the file: the page keeps corrections under it."""
    has_mark: bool
    """Whether the file begins with the mark by which Excel recognizes UTF-8."""


def read_rows(csv: Path, images: Path | None) -> ReviewedRows:
    """Return the rows of a scan's CSV; `images` is the folder in which their paths begin, if they have moved.

    Raises DataError for a file that is no such CSV, and for corrections that are no labels.
    """
    table = read_table(csv)
    missing = [name for name in NEEDED_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{csv} is not a CSV of digitscan: it has no column named {' or '.join(missing)}")
    find_path = _create_path_finder(csv, images)
    cells, paths, ok_indices = [], [], []
    for index, (line, row) in enumerate(table.rows):
        if row["status"] not in {*Status}:
            raise DataError(
                f"{csv}, line {line}: {row['status']!r} is no status: expected {', '.join(Status)}"
            )
        parse_label(row.get(CORRECTED_COLUMN, ""), csv, line)
        is_utf8 = NOT_UTF8 not in row["note"]
        paths.append(find_path(os.fsdecode(text_to_path(unescape_formula(row["path"]), is_utf8))))
        cells.append([*row.values()])
        if row["status"] == Status.OK:
            ok_indices.append(index)
    if not cells:
        raise DataError(f"{csv} has no rows")
    data = csv.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return ReviewedRows(table.header, cells, paths, ok_indices, digest, data.startswith(b"\xef\xbb\xbf"))


def _create_path_finder(csv: Path, images: Path | None) -> Callable[[str], Path]:
    """Return what turns the path of a row into that of its picture.

    A scan notes beside its CSV which folders it was given: `places`, and `roots` if there were several, with
    which the rows' paths begin then.
    """
    if images is not None:
        return lambda name: images / name
    try:
        manifest = json.loads(csv.with_name(f"{csv.name}.json").read_text(encoding="utf-8"))
        targets, roots = [*map(Path, manifest["places"])], [*map(str, manifest["roots"])]
    except (OSError, ValueError, KeyError, TypeError):
        return lambda name: csv.parent / name
    if not roots:
        return lambda name: targets[0] / name

    def find(name: str) -> Path:
        for root, target in zip(roots, targets, strict=False):
            if name == root:
                return target
            if name.startswith(f"{root.rstrip('/')}/"):
                return target / name[len(root.rstrip("/")) + 1 :]
        return csv.parent / name

    return find
