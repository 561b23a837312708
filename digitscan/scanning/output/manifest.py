"""What the rows of a CSV depend on, kept beside it so that a scan goes on only with the same."""

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


_MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class ScanManifest:
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
    def csv_format(self) -> CsvFormat:
        """How its rows are written."""
        return CsvFormat(PROBABILITY_COLUMNS[0] in self.columns, self.raw, self.excel)

    def to_json(self) -> bytes:
        """Return the record as it stands beside the CSV."""
        values = {"digitscan_scan": MANIFEST_VERSION, **dataclasses.asdict(self)}
        return (json.dumps(values, indent=1) + "\n").encode("ascii")


def manifest_path(output: Path) -> Path:
    """Return where the record of a CSV stands: `rows.csv` has `rows.csv.json`."""
    return output.with_name(output.name + ".json")


def start_output(output: Path, file: BinaryIO, record: ScanManifest) -> None:
    """Empty an open CSV and put its new record beside it, safe on the disk.

    Old rows are lost only when all is ready for new ones. Raises OutputError if something that is no record
    stands there, OSError where it cannot be written.
    """
    beside = manifest_path(output)
    if os.path.exists(beside) and not _is_manifest(beside):
        raise OutputError(f"{beside} is in the way: name another output with -o")

    def empty() -> None:
        if os.fstat(file.fileno()).st_size:
            file.truncate(0)
            os.fsync(file.fileno())

    write_atomic(beside, record.to_json(), empty)


def _is_manifest(path: Path) -> bool:
    """Tell whether a file is a scan's record, and so ours to replace."""
    try:
        return "digitscan_scan" in _values(path)
    except OutputError:
        return False


def check_manifest(output: Path, now: ScanManifest) -> None:
    """Raise OutputError, saying what differs, unless the CSV's record agrees with the scan to go on."""
    path = manifest_path(output)
    before = _values(path)
    if before.get("digitscan_scan") != MANIFEST_VERSION:
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
            values = json.loads(file.read(_MAX_MANIFEST_BYTES))
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
