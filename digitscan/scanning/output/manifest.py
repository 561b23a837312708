"""The manifest: everything that the rows of a CSV depend on, kept beside it in `FILE.json`.

It is written before the first row. `--resume` continues a CSV only with the same settings, so that one file
never mixes the rows of two models.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from digitscan.errors import OutputError
from digitscan.scanning.output.csv_format import PROBABILITY_COLUMNS, CsvFormat
from digitscan.system.files import write_atomic

MANIFEST_VERSION = 1
_VERSION_KEY = "digitscan_scan"
# Manifests that older versions wrote must stay readable, so stored names never change.
_STORED_NAMES = {"fast_model": "quick_model", "targets": "places"}
_FIELD_NAMES = {stored: name for name, stored in _STORED_NAMES.items()}
_DISPLAY_NAMES = {
    "digitscan": "digitscan's version",
    "roots": "the paths as given",
    "targets": "the real paths",
}
_MAX_BYTES = 1 << 20
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
    model: str
    """The SHA-256 of the model."""
    fast_model: str | None
    """The SHA-256 of the fast model that answers before it, if there is one."""
    preprocess_version: int
    input_maximum: float
    min_confidence: float | None
    max_megapixels: float
    columns: tuple[str, ...]
    raw: bool
    excel: bool

    @property
    def csv_format(self) -> CsvFormat:
        """The format of the rows."""
        return CsvFormat(PROBABILITY_COLUMNS[0] in self.columns, self.raw, self.excel)

    def to_json(self) -> bytes:
        """Return the content of the file."""
        fields = {_STORED_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return (json.dumps({_VERSION_KEY: MANIFEST_VERSION, **fields}, indent=1) + "\n").encode("ascii")


def manifest_path(output: Path) -> Path:
    """Return the path of a CSV's manifest: `rows.csv.json` for `rows.csv`."""
    return output.with_name(output.name + ".json")


def start_output(output: Path, file: BinaryIO, manifest: ScanManifest) -> None:
    """Write the manifest of an open CSV and empty the CSV, both flushed to the disk.

    The CSV is emptied only when the new manifest is ready, so that a failure keeps the old rows. Raises
    OutputError if a file that is no manifest has the manifest's name, OSError if it cannot be written.
    """
    path = manifest_path(output)
    if os.path.exists(path) and not _is_manifest(path):
        raise OutputError(f"{path} is in the way: name another output with -o")

    def empty_csv() -> None:
        if os.fstat(file.fileno()).st_size:
            file.truncate(0)
            os.fsync(file.fileno())

    write_atomic(path, manifest.to_json(), empty_csv)


def check_manifest(output: Path, manifest: ScanManifest) -> None:
    """Raise OutputError, with the differences, unless a CSV's manifest agrees with this scan's."""
    path = manifest_path(output)
    stored = _read(path)
    if stored.get(_VERSION_KEY) != MANIFEST_VERSION:
        raise OutputError(
            f"{path} is not the manifest of a scan of this version: scan again with --overwrite"
        )
    expected = json.loads(manifest.to_json())
    differences = [
        f"{_display_name(name)} was {_shorten(stored.get(name))} and is {_shorten(value)}"
        for name, value in expected.items()
        if value != stored.get(name)
    ]
    if differences:
        raise OutputError(
            f"{output} was made with other settings: {', '.join(differences)}. "
            "Use the same settings, or name another file with -o"
        )


def _is_manifest(path: Path) -> bool:
    """Return whether a file is a manifest, and so ours to replace."""
    try:
        return _VERSION_KEY in _read(path)
    except OutputError:
        return False


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        raise OutputError(
            f"{path} is missing, so the settings of these rows are unknown: scan again with --overwrite"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read ({error}): scan again with --overwrite") from None
    if not isinstance(values, dict):
        raise OutputError(f"{path} is not the manifest of a scan: scan again with --overwrite")
    return values


def _display_name(stored_name: str) -> str:
    name = _FIELD_NAMES.get(stored_name, stored_name)
    return _DISPLAY_NAMES.get(name, name.replace("_", " "))


def _shorten(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[: _MAX_SHOWN_CHARACTERS - 3]}..."
