"""The rows of scans, and outputs in the states that killed scans leave."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from digitscan.prediction import NOT_UTF8, Prediction, name_to_path


def leave_as_killed(output: Path, rows: bytes) -> None:
    """Let an output hold these rows, of which the last may be incomplete, as a killed scan leaves it."""
    output.write_bytes(rows)
    manifest = output.with_name(output.name + ".json")
    manifest.write_text(re.sub(r'(?<="written_bytes": ).{20}', f"{0:20}", manifest.read_text()))


def file_of(row: Prediction) -> str:
    """Return the path of a row's file, also of one that is a page."""
    return os.fsdecode(name_to_path(row.path, NOT_UTF8 not in row.note)[0])


def files_of(rows: Iterable[Prediction]) -> list[str]:
    """Return the paths of the files that rows are about, in the order in which they come first."""
    return [*dict.fromkeys(map(file_of, rows))]
