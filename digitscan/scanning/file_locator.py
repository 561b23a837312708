"""Find the files that the rows of a CSV are of, among the paths that were scanned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from digitscan.prediction import NOT_UTF8, Folder, ImageFile, Prediction, name_to_path
from digitscan.scanning.discovery import encode_root, is_one_folder


class FileLocator:
    """Finds the files that `find_images` shows by some names, among the same paths."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the paths of the scan."""
        self._only_folder = paths[0] if is_one_folder(paths) else None
        self._folders = {encode_root(path): path for path in paths if os.path.isdir(path)}

    def locate_row(self, row: Prediction) -> ImageFile:
        """Return the file, or the page of one, that a row is of."""
        is_utf8 = NOT_UTF8 not in row.note
        name, page = name_to_path(row.path, is_utf8)
        path, folder = self.locate(name)
        return ImageFile(path, row.path, () if is_utf8 else (NOT_UTF8,), folder, page)

    def locate(self, name: bytes) -> tuple[str, Folder | None]:
        """Return the path and the folder of the file that is shown by this name."""
        if self._only_folder:
            return _locate_below(self._only_folder, name)
        # The longest that fits: a link to a folder is followed only where it was given itself.
        root = name
        while b"/" in root:
            root = root.rpartition(b"/")[0]
            if root in self._folders:
                return _locate_below(self._folders[root], name[len(root) + 1 :])
        return os.fsdecode(name), None


def _locate_below(root: Path, name: bytes) -> tuple[str, Folder]:
    subpath, _, file = os.fsdecode(name).rpartition("/")
    return file, Folder(os.fspath(root), subpath)
