"""The settings of the output and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from digitscan.errors import UsageError

DEFAULT_NAME = "predictions.csv"
_OTHER_FORMATS = frozenset({
    ".xlsx", ".xlsm", ".xls", ".ods", ".numbers", ".tsv", ".html", ".htm", ".md", ".pdf", ".docx",
    ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".parquet", ".feather", ".arrow", ".avro", ".orc",
    ".h5", ".hdf5", ".npy", ".npz", ".pkl", ".db", ".sqlite", ".sqlite3", ".duckdb", ".sql",
    ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z",
})  # fmt: skip
"""Suffixes that promise what a CSV is not. Names with others, such as `rows.txt`, are taken."""


@dataclass(frozen=True)
class OutputConfig:
    """Where and how the command writes rows."""

    path: str | None = None
    """The file to write, "-" for stdout; None is a pipe on stdout, else the next free `predictions.csv`."""
    overwrite: bool = False
    """Whether a file that exists is replaced."""
    resume: bool = False
    """Whether the rows that are missing in an existing file are added to it."""
    retry_errors: bool = False
    """Whether the files whose rows say `error` are read again first; implies `resume`."""
    update: bool = False
    """Whether the rows of an existing file are brought up to date: new and changed images are read."""
    raw: bool = False
    """Whether text cells are written without the `'` that keeps a spreadsheet from running them."""
    excel: bool = False
    """Whether the file begins with the byte order mark by which Excel recognizes UTF-8."""
    copy_review: Path | None = None
    """A new folder for the pictures that a person should look at; None makes none."""
    quiet: bool = False
    """Whether neither progress nor summary is shown."""
    list_skipped: bool = False
    """Whether what has no row is named on stderr, with the reason."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, and names of other formats. Raises UsageError."""
        if self.overwrite and self.continues:
            raise UsageError(
                "--overwrite starts the output again, --resume, --retry-errors and --update continue it: "
                "choose one"
            )
        suffix = PurePath(self.path or "").suffix.lower()
        if suffix in _OTHER_FORMATS:
            raise UsageError(
                f"{self.path} would hold CSV under the name of another format ({suffix}): digitscan writes "
                "CSV, which every spreadsheet opens, so name a .csv file with -o"
            )

    @property
    def continues(self) -> bool:
        """Whether rows are added to a file that exists."""
        return self.resume or self.retry_errors or self.update
