"""The manifest: everything that the rows of a CSV depend on, kept beside it in `FILE.json`.

It is written before the first row. `--resume` continues a CSV only with the same settings, so that one file
never mixes the rows of two models. It also holds the length of the rows that are written, so that the
incomplete row that a killed scan leaves can be told from one that a person has edited.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import ImageError, OutputError
from digitscan.scanning.output.csv_format import PROBABILITY_COLUMNS, CsvFormat
from digitscan.system.files import open_regular_file, write_atomic

MANIFEST_VERSION = 1
MAX_STORED_PATHS = 1000
"""Of more paths only a digest is stored, so that the manifest of a list with a million stays small."""
_VERSION_KEY = "digitscan_scan"
# Manifests that older versions wrote must stay readable, so stored names never change.
_STORED_NAMES = {"fast_model": "quick_model", "targets": "places"}
_FIELD_NAMES = {stored: name for name, stored in _STORED_NAMES.items()}
_LATER_NAMES = frozenset(
    {
        "is_calibrated",
        "calibration",
        "input_inverted",
        "max_pages",
        "frames",
        "path_list",
        "current_folder",
        "include",
        "exclude",
        "hidden",
    }
)
"""What the first versions did not store."""
_LENGTH_KEY = "written_bytes"
# The same number of characters whatever the length, so that it can be updated in place.
_LENGTH_FIELD = re.compile(rb'(?<="written_bytes": )[ 0-9nul]{20}')
_DISPLAY_NAMES = {
    "digitscan": "digitscan's version",
    "roots": "the paths as given",
    "targets": "the real paths",
    "path_list": "the list of paths",
    "is_calibrated": "whether the model's calibration is believed",
}
_MAX_BYTES = 1 << 26
_MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class ScanManifest:
    """What the rows of a scan depend on. Bytes of paths that are not UTF-8 are lone surrogates."""

    digitscan: str
    """The version."""
    roots: tuple[str, ...]
    """The paths as given, with which rows begin; empty for one folder, whose rows do not show it."""
    targets: tuple[str, ...]
    """The real paths that they lead to."""
    path_list: str | None
    """In the place of both, if there are more than MAX_STORED_PATHS: the SHA-256 of the paths as given."""
    current_folder: str | None
    """The folder in which the relative ones of these begin."""
    model: str
    """The SHA-256 of the model."""
    fast_model: str | None
    """The SHA-256 of the fast model that answers before it, if there is one."""
    preprocess_version: int
    input_maximum: float
    input_inverted: bool
    min_confidence: float | None
    is_calibrated: bool
    """Whether the model's own limit for `ok` is believed: only a pin makes it so for a stranger's model."""
    calibration: str | None
    """What the user's own calibration of the model has set, if there is one."""
    max_megapixels: float
    max_pages: int
    frames: str
    """Which frames of an animation are read: `first` or `all`."""
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    hidden: bool
    """Whether hidden files are read; with `include` and `exclude`, which files of a folder have rows."""
    columns: tuple[str, ...]
    raw: bool
    excel: bool

    @property
    def csv_format(self) -> CsvFormat:
        """The format of the rows."""
        return CsvFormat(PROBABILITY_COLUMNS[0] in self.columns, self.raw, self.excel)

    def to_json(self) -> bytes:
        """Return the settings as they are stored."""
        fields = {_STORED_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return (json.dumps({_VERSION_KEY: MANIFEST_VERSION, **fields}, indent=1) + "\n").encode("ascii")


def manifest_path(output: Path) -> Path:
    """Return the path of a CSV's manifest: `rows.csv.json` for `rows.csv`."""
    return output.with_name(output.name + ".json")


def check_can_start(output: Path, manifest: ScanManifest, overwrite: bool, resume: bool) -> None:
    """Raise OutputError if a scan that starts an output would destroy what has the manifest's name.

    That is a file that is no manifest, a link, or the manifest of an output that was moved away. The last is
    replaced if that was asked for, or if the new one says the same.
    """
    path = manifest_path(output)
    _check_is_manifest_or_free(path)
    if overwrite or os.path.lexists(output) or not os.path.lexists(path):
        return
    if resume:
        check_manifest(output, manifest)
    else:
        raise OutputError(
            f"{path} exists already, though {output} does not: add --overwrite to replace it, "
            "or name another output with -o"
        )


def start_output(output: Path, file: BinaryIO, manifest: ScanManifest) -> None:
    """Write the manifest of an open CSV and empty the CSV, both flushed to the disk.

    The CSV is emptied only when the new manifest is ready, so that a failure keeps the old rows. Raises
    OutputError if a file that is no manifest has the manifest's name, OSError if it cannot be written.
    """
    _check_is_manifest_or_free(manifest_path(output))

    def empty_csv() -> None:
        if os.fstat(file.fileno()).st_size:
            file.seek(file.truncate(0))
            os.fsync(file.fileno())

    settings = manifest.to_json().rstrip(b"\n}")
    length = b',\n "%s": %20d\n}\n' % (_LENGTH_KEY.encode(), 0)
    write_atomic(manifest_path(output), settings + length, empty_csv)


class WrittenLength:
    """The length of the rows that are written, kept in the manifest of an output.

    It is updated in place, which takes no flush of the disk: after a power loss it may be too small, which
    does no harm. Where it cannot be updated, as in the manifests of older versions, it stays as it is.
    """

    def __init__(self, output: Path) -> None:
        """Find the field in the manifest."""
        self._path = manifest_path(output)
        self._field = b""
        self._position = 0
        self.value: int | None = None
        """The length when a scan wrote it last; None if no scan has left an incomplete row."""
        with contextlib.suppress(ImageError, OSError), open_regular_file(str(self._path), False) as file:
            if match := _LENGTH_FIELD.search(file.read(_MAX_BYTES)):
                self._field, self._position = match[0], match.start()
                self.value = int(self._field) if self._field.strip().isdigit() else None

    def update(self, value: int | None) -> None:
        """Store the length, unless the manifest is no longer the one that was opened."""
        if not self._field:
            return
        field = json.dumps(value).rjust(len(self._field)).encode()
        with contextlib.suppress(OSError), open(self._path, "r+b", opener=_open_to_update) as file:
            file.seek(self._position)
            if file.read(len(self._field)) == self._field:
                file.seek(self._position)
                file.write(field)
                self._field, self.value = field, value


def _open_to_update(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def check_manifest(output: Path, manifest: ScanManifest) -> None:
    """Raise OutputError, with the differences, unless a CSV's manifest agrees with this scan's."""
    path = manifest_path(output)
    stored = _read(path)
    if stored[_VERSION_KEY] != MANIFEST_VERSION:
        raise OutputError(
            f"{path} is not the manifest of a scan of this version: scan again with --overwrite"
        )
    expected = json.loads(manifest.to_json())
    differences = [
        f"{_display_name(name)} was {_display_value(name, stored.get(name))} "
        f"and is {_display_value(name, value)}"
        for name, value in expected.items()
        if value != stored.get(name) and (name in stored or name not in _LATER_NAMES)
    ]
    if differences:
        raise OutputError(
            f"{output} was made with other settings: {', '.join(differences)}. "
            "Use the same settings, or name another file with -o"
        )


def _check_is_manifest_or_free(path: Path) -> None:
    """Raise OutputError if something is there that is no manifest, and so not ours to replace."""
    is_manifest = False
    with contextlib.suppress(OutputError):
        _read(path)
        is_manifest = True
    if not is_manifest and os.path.lexists(path):
        raise OutputError(f"{path} is in the way: name another output with -o")


def _read(path: Path) -> dict[str, object]:
    try:
        # A link may lead to the manifest of another output.
        with open_regular_file(str(path), follow_links=False) as file:
            values = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        raise OutputError(
            f"{path} is missing, so the settings of these rows are unknown: scan again with --overwrite"
        ) from None
    except (ImageError, OSError, ValueError, RecursionError) as error:
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        reason = "it is a link" if is_link else error
        raise OutputError(f"{path} cannot be read ({reason}): name another output with -o") from None
    if not isinstance(values, dict) or _VERSION_KEY not in values:
        raise OutputError(f"{path} is not the manifest of a scan: name another output with -o")
    return values


def _display_name(stored_name: str) -> str:
    name = _FIELD_NAMES.get(stored_name, stored_name)
    return _DISPLAY_NAMES.get(name, name.replace("_", " "))


def _display_value(stored_name: str, value: object) -> str:
    if value is None:
        return "the model's own threshold" if stored_name == "min_confidence" else "none"
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[: _MAX_SHOWN_CHARACTERS - 3]}..."
