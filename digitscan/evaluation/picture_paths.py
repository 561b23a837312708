"""Where the pictures of a scan's CSV are: its cells, the folder given now, and what the scan noted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from digitscan.csv_cells import unescape_formula
from digitscan.prediction import name_to_path
from digitscan.workers.protocol import FileLocation

FindPicture = Callable[[str, bool], FileLocation]
"""Turns the cell `path` of a row into the path and page of its picture; false if the row says that it is no
UTF-8."""


def create_picture_finder(csv: Path, images: Path | None) -> FindPicture:
    """Return what turns the cell `path` of a row into the path and page of its picture.

    `images` is the folder in which the paths begin now, if the pictures have moved. Without it, they are
    where the scan found them: it notes beside its CSV which folders it was given.
    """
    find = _create_name_finder(csv, images)

    def find_picture(cell: str, is_utf8: bool) -> FileLocation:
        path, page = name_to_path(unescape_formula(cell), is_utf8)
        return FileLocation(os.fspath(find(os.fsdecode(path))), page=page)

    return find_picture


def _create_name_finder(csv: Path, images: Path | None) -> Callable[[str], Path]:
    """Return what turns the path of a row, without its escapes, into that of its picture.

    A scan notes `places`, the folders it was given, and `roots` if there were several, with which the rows'
    paths begin then; of a long list of files, only the folder in which their paths begin.
    """
    if images is not None:
        return lambda name: images / name
    try:
        manifest = json.loads(_find_manifest(csv).read_text(encoding="utf-8"))
        targets, roots = [*map(Path, manifest["places"])], [*map(str, manifest["roots"])]
        start = Path(manifest.get("current_folder") or csv.parent)
    except (OSError, ValueError, KeyError, TypeError):
        return lambda name: csv.parent / name
    if not targets:
        return lambda name: start / name
    if not roots:
        return lambda name: targets[0] / name

    # The longest that fits: what was given by itself inside another folder may be a link out of it.
    places = sorted(zip(roots, targets, strict=False), key=lambda place: len(place[0]), reverse=True)

    def find(name: str) -> Path:
        for root, target in places:
            if name == root:
                return target
            if name.startswith(f"{root.rstrip('/')}/"):
                return target / name[len(root.rstrip("/")) + 1 :]
        return csv.parent / name

    return find


def _find_manifest(csv: Path) -> Path:
    """Return the manifest of a CSV or, of a corrected one that the page gave, that of the original."""
    manifest = csv.with_name(f"{csv.name}.json")
    original = re.sub(r"-corrected(?: ?\(\d+\))?(?=\.csv\Z)", "", csv.name)
    return manifest if manifest.exists() else csv.with_name(f"{original}.json")
