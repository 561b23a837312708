"""Pictures by other people, in folders, and how a model reads them through `digitscan scan`.

A folder of sets holds SET/LABEL/FILE for single digits, nondigit-SET/FILE and multi-SET/FILE for what is
not one digit. Sets of fewer than 50 pictures are pooled; every set weighs the same in a mean.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALL = 50

Rows = dict[str, dict[str, str]]


@dataclass(frozen=True)
class SetScore:
    """Shares, 0 to 1, of one set's pictures; of non-digits, nothing is right."""

    name: str
    images: int
    right: float
    ok: float
    ok_wrong: float
    refused: float


@dataclass(frozen=True)
class Means:
    """Means over sets, 0 to 1, and the worst set's share of right answers."""

    right: float
    worst: float
    ok: float
    ok_wrong: float
    refused: float


def scan(folder: Path, model: str) -> Rows:
    """Return the rows of a scan by path."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "rows.csv"
        command = [sys.executable, "-m", "digitscan", "scan", str(folder), "--model", model, "--quiet"]
        subprocess.run([*command, "-o", str(output)], check=False)
        with output.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row for row in csv.DictReader(file)}


def is_of_digits(folder: Path) -> bool:
    """Tell a set of digits from one of what is not a single digit."""
    return not folder.name.startswith(("nondigit-", "multi-"))


def sets_of(folder: Path) -> list[Path]:
    """Return the sets in a folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir())


def score_rows(name: str, rows: Rows) -> SetScore:
    """Score rows by path; a path's first part is its label where there is one."""
    ok = [path for path, row in rows.items() if row["status"] == "ok"]
    right = {path for path, row in rows.items() if "/" in path and row["digit"] == path.split("/")[0]}
    count = max(len(rows), 1)
    return SetScore(
        name,
        len(rows),
        len(right) / count,
        len(ok) / count,
        sum(path not in right for path in ok) / max(len(ok), 1),
        sum(row["status"] == "no-digit" for row in rows.values()) / count,
    )


def score_each(model: str, folder: Path) -> list[tuple[Path, Rows]]:
    """Return each set's folder and the rows of its scan."""
    return [(part, scan(part, model)) for part in sets_of(folder)]


def means_of(scanned: list[tuple[Path, Rows]], of_digits: bool) -> Means:
    """Return the means over the sets of digits, or over the others."""
    chosen = [(part, rows) for part, rows in scanned if is_of_digits(part) == of_digits]
    scores = [score_rows(part.name, rows) for part, rows in chosen if len(rows) >= SMALL]
    # The set's name goes last, so that the label stays first.
    pooled = {
        f"{path}/{part.name}": row for part, rows in chosen if len(rows) < SMALL for path, row in rows.items()
    }
    if len(pooled) >= SMALL:
        scores.append(score_rows("small", pooled))
    if not scores:
        return Means(0.0, 0.0, 0.0, 0.0, 0.0)
    mean = {
        name: float(np.mean([getattr(s, name) for s in scores]))
        for name in ("right", "ok", "ok_wrong", "refused")
    }
    return Means(worst=min(score.right for score in scores), **mean)
