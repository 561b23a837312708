"""The manifest: everything that the rows of a CSV depend on, kept beside it in `FILE.json`.

It is written before the first row. `--resume` continues a CSV only with the same settings, so that one file
never mixes the rows of two models. It also holds the length and the SHA-256 of the rows that are written:
they tell an incomplete row that a killed scan left, and whether people have changed the file since.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from digitscan.errors import ImageError, OutputError
from digitscan.scanning.output.csv_format import DIGIT_CONFIDENCE_COLUMN, PROBABILITY_COLUMNS, CsvFormat
from digitscan.scanning.output.written_state import StateField, WrittenState, format_state
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
        "digit_model",
        "numbers",
        "length",
        "check",
    }
)
"""What the first versions did not store."""
_PLACE_NAMES = ("targets", "current_folder")
_FREE_NAMES = frozenset({"digitscan", "started", *_PLACE_NAMES})
"""What may differ when a scan is continued."""
_DISPLAY_NAMES = {
    "roots": "the paths as given",
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
    started: float
    """When files were first read for these rows, in seconds since 1970; what is older is as it was then."""
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
    digit_model: str | None
    """The SHA-256 of the model that reads numbers of one digit, in a scan of numbers."""
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
    numbers: bool
    """Whether whole numbers are read, not single digits."""
    length: str | None
    """How many digits the numbers have, as in ScanConfig."""
    check: str | None
    """Which check digit they have."""
    columns: tuple[str, ...]
    raw: bool
    excel: bool

    @property
    def csv_format(self) -> CsvFormat:
        """The format of the rows."""
        return CsvFormat(
            PROBABILITY_COLUMNS[0] in self.columns,
            self.raw,
            self.excel,
            self.numbers,
            DIGIT_CONFIDENCE_COLUMN in self.columns,
        )

    def to_json(self) -> bytes:
        """Return the settings as they are stored."""
        fields = {_STORED_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return (json.dumps({_VERSION_KEY: MANIFEST_VERSION, **fields}, indent=1) + "\n").encode("ascii")


def manifest_path(output: Path) -> Path:
    """Return the path of a CSV's manifest: `rows.csv.json` for `rows.csv`."""
    return output.with_name(output.name + ".json")


def check_can_start(output: Path, manifest: ScanManifest, overwrite: bool, continues: bool) -> None:
    """Raise OutputError if a scan that starts an output would destroy what has the manifest's name.

    That is a file that is no manifest, a link, or the manifest of an output that was moved away. The last is
    replaced if that was asked for, or if the new one says the same.
    """
    path = manifest_path(output)
    _check_is_manifest_or_free(path)
    if overwrite or os.path.lexists(output) or not os.path.lexists(path):
        return
    if continues:
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

    write_atomic(manifest_path(output), _with_state(manifest, WrittenState(0, 0, "")), empty_csv)


def replace_manifest(output: Path, manifest: ScanManifest) -> None:
    """Write the manifest of a CSV that stays as it is; what is known of its rows is kept. Raises OSError."""
    state = StateField(manifest_path(output)).value
    write_atomic(manifest_path(output), _with_state(manifest, state or WrittenState(None, 0, "")))


def _with_state(manifest: ScanManifest, state: WrittenState) -> bytes:
    return manifest.to_json().rstrip(b"\n}") + format_state(state) + b"\n}\n"


class StoredScan(NamedTuple):
    """What the manifest of a CSV says about the scan that is continued."""

    started: float
    """When it began, see ScanManifest; 0 if that is not known."""
    moved_from: str | None
    """Where the images were, if they are now at another place; None if they are where they were."""
    has_other_roots: bool
    """Whether the paths as given are others, or in another order, so that the rows have other places."""


def check_manifest(output: Path, manifest: ScanManifest, adds_paths: bool = False) -> StoredScan:
    """Return what a CSV's manifest says, once it is known to agree with this scan's.

    The images may be at another place, with the same names, and digitscan may be of another version whose
    preprocessing is the same. `adds_paths` says whether more paths may be scanned than before. Raises
    OutputError, with the differences, for anything else.
    """
    path = manifest_path(output)
    stored = _read(path)
    if stored[_VERSION_KEY] != MANIFEST_VERSION:
        raise OutputError(
            f"{path} is not the manifest of a scan of this version: scan into another file with -o"
        )
    stored = {_FIELD_NAMES.get(name, name): value for name, value in stored.items()}
    expected = json.loads(json.dumps(dataclasses.asdict(manifest)))
    _check_mode(output, bool(stored.get("numbers")), manifest.numbers)
    free_names = _FREE_NAMES | (
        {"roots", "path_list"} if adds_paths and _has_all(stored, expected) else set()
    )
    differences = [
        f"{_display_name(name)} was {_display_value(name, stored.get(name))} "
        f"and is {_display_value(name, value)}"
        for name, value in expected.items()
        if value != stored.get(name)
        and (name in stored or name not in _LATER_NAMES)
        and name not in free_names
    ]
    if differences:
        raise OutputError(
            f"{output} was made with other settings: {', '.join(differences)}. "
            "Use the same settings, or name another file with -o"
        )
    return StoredScan(
        _parse_time(stored.get("started")),
        _find_old_place(stored, expected),
        any(stored.get(name) != expected[name] for name in ("roots", "path_list")),
    )


def _check_mode(output: Path, holds_numbers: bool, reads_numbers: bool) -> None:
    """Raise OutputError where single digits would come behind numbers, or numbers behind digits."""
    if holds_numbers == reads_numbers:
        return
    held, hint = ("numbers", "add --numbers") if holds_numbers else ("single digits", "leave out --numbers")
    raise OutputError(f"{output} holds {held}: {hint}, or name another file with -o")


def _has_all(stored: Mapping[str, object], expected: Mapping[str, object]) -> bool:
    """Tell whether all paths of before are scanned, or may be: of long lists only a digest is known."""
    if expected["path_list"]:
        return bool(stored.get("path_list") or stored.get("roots"))
    old, new = stored.get("roots"), expected["roots"]
    return isinstance(old, list) and isinstance(new, list) and bool(old) and {*map(str, old)} <= {*new}


def _find_old_place(stored: Mapping[str, object], expected: Mapping[str, object]) -> str | None:
    """Return the first of the places at which the images were, unless they are there still."""
    for name in _PLACE_NAMES:
        old, new = stored.get(name), expected[name]
        if isinstance(old, str) and isinstance(new, str) and old != new:
            return old
        if isinstance(old, list) and isinstance(new, list):
            for place in old:
                if place not in new:
                    return str(place)
    return None


def _parse_time(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


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
        raise OutputError(_describe_missing(path)) from None
    except (ImageError, OSError, ValueError, RecursionError) as error:
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        reason = "it is a link" if is_link else error
        raise OutputError(f"{path} cannot be read ({reason}): name another output with -o") from None
    if not isinstance(values, dict) or _VERSION_KEY not in values:
        raise OutputError(f"{path} is not the manifest of a scan: name another output with -o")
    return values


def _describe_missing(path: Path) -> str:
    """Say what can be done without a manifest: nothing of it destroys the rows."""
    output = path.with_suffix("")
    others = _find_orphans(path.parent)
    rename = (
        f"If {output.name} was {others[0].stem}, rename {others[0].name} to {path.name}"
        if len(others) == 1
        else f"If {output.name} had another name, give its .json file the same new name"
    )
    return (
        f"{path} is missing, which tells how these rows were made. {rename}. Otherwise scan into another "
        f"file with -o, or again with --overwrite, which keeps these rows as {output.name}.bak"
    )


def _find_orphans(folder: Path) -> list[Path]:
    """Return the manifests in a folder whose CSV is not there."""
    orphans = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob("*.csv.json")):
            if not os.path.lexists(path.with_suffix("")):
                with contextlib.suppress(OutputError):
                    _read(path)
                    orphans.append(path)
    return orphans


def _display_name(name: str) -> str:
    return _DISPLAY_NAMES.get(name, name.replace("_", " "))


def _display_value(name: str, value: object) -> str:
    if value is None:
        return "the model's own threshold" if name == "min_confidence" else "none"
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[: _MAX_SHOWN_CHARACTERS - 3]}..."
