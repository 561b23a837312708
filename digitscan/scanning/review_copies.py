"""Put the pictures that a person should look at into one folder, as links where the system has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from digitscan.errors import OutputError, UsageError
from digitscan.prediction import NOT_UTF8, Prediction, Status, name_to_path
from digitscan.scanning.file_locator import FileLocator
from digitscan.system.files import describe_os_error
from digitscan.system.folders import join_path
from digitscan.system.log import log

COPIED_STATUSES = frozenset({Status.REVIEW, Status.NO_DIGIT})
"""Not ERROR: those pictures cannot be looked at."""


class ReviewCopies:
    """The folder, which keeps the names of the pictures and of their subfolders."""

    def __init__(self, folder: Path, scanned_paths: Sequence[Path], continues: bool) -> None:
        """Take the folder, which is made when it is needed.

        Raises OutputError if it holds something already, unless the scan `continues` an earlier one, and
        UsageError if it is in a scanned folder: the next scan would read the copies.
        """
        self._folder, self._locator = folder, FileLocator(scanned_paths)
        for path in scanned_paths:
            if _is_inside(folder, path):
                raise UsageError(f"--copy-review {folder} is inside {path}, which is scanned: name another")
        try:
            is_free = not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
        except OSError as error:
            raise OutputError(f"{folder} cannot be read: {describe_os_error(error)}") from error
        if not is_free and not continues:
            raise OutputError(f"{folder} exists already: name a new folder with --copy-review")

    def add_previous(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the rows of an earlier scan, and add their pictures: it may have ended before it did."""
        for row in rows:
            self.add([row])
            yield row

    def add(self, rows: Iterable[Prediction]) -> None:
        """Add the pictures of those rows that need it; log those that cannot be: the scan goes on."""
        for row in rows:
            if row.status not in COPIED_STATUSES:
                continue
            name, _ = name_to_path(row.path, NOT_UTF8 not in row.note)
            file, folder = self._locator.locate(name)
            source = Path(join_path(folder, file) if folder else file)
            try:
                _link(source, self._folder / _make_relative(name))
            except OSError as error:
                log(f"{source} is not put into {self._folder}: {describe_os_error(error)}")


def _is_inside(folder: Path, path: Path) -> bool:
    return path.is_dir() and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path))


def _make_relative(name: bytes) -> str:
    """Return the name with what would lead out of a folder changed: named files may be anywhere."""
    parts = [part for part in os.fsdecode(name).split("/") if part not in {"", "."}]
    return "/".join("parent" if part == ".." else part for part in parts)


def _link(source: Path, copy: Path) -> None:
    """Make a link to a picture; copy it where the system makes no links. What exists stays."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        copy.symlink_to(os.path.abspath(source))  # noqa: PTH100  # `resolve` would follow links
    except FileExistsError:
        if copy.is_symlink() and os.readlink(copy) != os.path.abspath(source):  # noqa: PTH100, PTH115
            copy.unlink()  # the images have moved
            copy.symlink_to(os.path.abspath(source))  # noqa: PTH100
    except (OSError, NotImplementedError):
        import shutil  # where there are links it is not needed

        shutil.copyfile(source, copy)
