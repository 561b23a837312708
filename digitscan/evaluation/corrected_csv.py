"""A CSV of a scan in which a person has said what is right: in the column `corrected`.

An empty cell was not looked at; a digit is what the image shows, also where it confirms; `none` is no digit.
In a scan of whole numbers it is the number.
A column `audit` marks rows that were drawn at random from the `ok` rows: they tell how good those are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from digitscan.csv_cells import DIGIT_COLUMN, NUMBER_COLUMN, has_numbers, unescape_formula
from digitscan.errors import DataError
from digitscan.evaluation.labels import (
    CORRECTED_COLUMN,
    PATH_COLUMN,
    NumberLabels,
    parse_label,
    read_table,
    restore_numbers,
)
from digitscan.evaluation.metrics import NO_DIGIT, Answers, Share, compute_share
from digitscan.prediction import Status

AUDIT_COLUMN = "audit"
COLUMNS = ("confidence", "status", CORRECTED_COLUMN)
"""What an evaluation needs besides the path and what was read; other columns are not looked at."""


@dataclass(frozen=True)
class CorrectedCsv:
    """What a person said about a scan's rows."""

    answers: Answers
    """The rows that were looked at, with what is right as their labels."""
    audit: Share | None
    """Of the rows that were drawn at random and looked at, those that are wrong; None if none were drawn."""


def read_corrected_csv(path: Path) -> CorrectedCsv:
    """Return the rows that a person has looked at.

    Raises DataError for a CSV without the columns, a label that is none, rows of one file that contradict
    each other, and where no row was looked at.
    """
    import numpy as np

    table = read_table(path)
    labels = NumberLabels() if has_numbers(table.columns) else None
    read_column = DIGIT_COLUMN if labels is None else NUMBER_COLUMN
    missing = [name for name in (PATH_COLUMN, read_column, *COLUMNS) if name not in table.columns]
    if missing:
        hint = ": correct the rows first, see digitscan review" if missing == [CORRECTED_COLUMN] else ""
        raise DataError(f"{path} has no column named {' or '.join(missing)}{hint}")
    rows: dict[str, _Row] = {}
    for line, cells in table.rows:
        row = _parse_row(cells, path, line, labels)
        if row is None:
            continue
        if rows.setdefault(row.name, row).label != row.label:
            raise DataError(f"{path}, line {line}: {row.name} is corrected twice, to different labels")
    if not rows:
        raise DataError(f"{path}: no row is corrected, its column corrected is empty")
    looked_at = list(rows.values())
    predictions = np.array([row.prediction for row in looked_at], np.int64)
    answers = Answers(
        tuple(row.name for row in looked_at),
        np.array([row.label for row in looked_at], np.int64),
        predictions,
        np.array([row.confidence for row in looked_at], np.float64),
        np.array([row.is_ok for row in looked_at], np.bool_),
        np.array([row.may_be_ok for row in looked_at], np.bool_),
        None if labels is None else labels.numbers,
    )
    audited = [row for row in looked_at if row.is_audited]
    wrong_count = sum(row.label != row.prediction for row in audited)
    return CorrectedCsv(answers, compute_share(wrong_count, len(audited)) if audited else None)


@dataclass(frozen=True)
class _Row:
    name: str
    label: int
    prediction: int
    confidence: float
    is_ok: bool
    may_be_ok: bool
    is_audited: bool


def _parse_row(cells: dict[str, str], path: Path, line: int, labels: NumberLabels | None) -> _Row | None:
    """Return a row that was looked at; None for one that was not. `labels` is None for single digits."""
    if labels is None:
        label, prediction = (
            parse_label(cells[name], path, line) for name in (CORRECTED_COLUMN, DIGIT_COLUMN)
        )
    else:
        corrected, number = restore_numbers(cells, path, line)
        label, prediction = labels.encode(corrected), labels.encode(number)
    if label is None:
        return None
    status = cells["status"].strip().lower()
    if status not in {*Status}:
        raise DataError(f"{path}, line {line}: {status!r} is no status: expected {', '.join(Status)}")
    return _Row(
        unescape_formula(cells["path"]),
        label,
        NO_DIGIT if prediction is None else prediction,
        _parse_confidence(cells["confidence"], path, line),
        status == Status.OK,
        prediction is not None and (status == Status.OK or _is_only_doubtful(cells.get("note", ""))),
        bool(cells.get(AUDIT_COLUMN, "").strip()),
    )


def _is_only_doubtful(note: str) -> bool:
    """Tell whether a row needs review for its confidence alone: with a lower threshold it would be `ok`."""
    reason, *others = (part.strip() for part in note.split(";"))
    if any(other.endswith((" expected", "fails the check digit")) for other in others):
        return False
    return (
        reason.startswith("between ")
        or reason in {"doubtful", "model not calibrated"}
        or re.fullmatch(r"\d+ or \d+", reason) is not None
    )


def _parse_confidence(cell: str, path: Path, line: int) -> float:
    """Return the number in a cell, 0 to 1, also with a decimal comma; 0 if it is empty."""
    try:
        confidence = float(cell.strip().replace(",", ".") or 0)
    except ValueError:
        confidence = -1.0
    if not 0.0 <= confidence <= 1.0:
        raise DataError(f"{path}, line {line}: {cell!r} is no confidence: expected a number from 0 to 1")
    return confidence
