"""One scan from the paths to the CSV and its summary: what the command `scan` calls."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Never

from digitscan import __version__
from digitscan.errors import SOME_FILES_UNREADABLE, NoImagesError, OutputError, UsageError
from digitscan.scanning.discovery import Found, Tally, check_paths, count_images, find_images
from digitscan.scanning.output.csv_format import CsvWriter, Layout, Prediction, read_csv
from digitscan.scanning.output.sink import Output
from digitscan.scanning.report import Counts, Ending, print_summary
from digitscan.scanning.resume import (
    Record,
    Rest,
    begin_anew,
    check_record,
    cut_to_whole_records,
)
from digitscan.scanning.retry import retry_errors
from digitscan.scanning.scheduler import ScanOptions, scan_in_batches
from digitscan.system.stdio import plain

if TYPE_CHECKING:
    from rich.console import Console
    from tqdm import tqdm

    from digitscan.model.registry import Model


@dataclass(frozen=True)
class Request:
    """What the user asked for. output: a file's name, "-" for stdout, None to choose."""

    paths: Sequence[Path]
    model: str | None = None
    input_maximum: float | None = None
    output: str | None = None
    overwrite: bool = False
    resume: bool = False
    retry_errors: bool = False
    raw: bool = False
    excel: bool = False
    model_sha256: str | None = None
    quiet: bool = False
    options: ScanOptions = field(default_factory=ScanOptions)


def run(request: Request, console: Console | None = None) -> int:
    """Scan, write, and say what was done; return the exit code: 0, or 3 if some files failed.

    The summary goes to `console`, by default one on stderr.

    Raises UsageError, OutputError, ModelError or NoImagesError before anything is written, OutputError
    later if the disk fails, ReaderGoneError if stdout's reader has gone.
    """
    from digitscan.model.registry import open_model

    start = time.perf_counter()
    if request.overwrite and (request.resume or request.retry_errors):
        raise UsageError("--overwrite begins anew, --resume and --retry-errors go on: choose")
    check_paths(request.paths)
    output = Output(request.output, request.overwrite, request.resume or request.retry_errors)
    model = open_model(
        request.model, input_maximum=request.input_maximum, sha256=request.model_sha256, say=_say
    )
    layout = Layout(request.options.probabilities, request.raw, request.excel)
    record = _record(request, model, layout)
    if output.goes_on and output.path:
        check_record(output.path, record)
    elif request.retry_errors:
        raise OutputError(f"{output.where} holds no rows yet: there is nothing to read again")
    tally = Tally()
    found = find_images(request.paths, tally, output.own_files)
    first = next(found, None)
    if first is None:
        raise NoImagesError(_nothing(request.paths, tally))
    if output.path is None and request.output is None and not request.quiet:
        _say("The rows go to stdout; -o FILE keeps them in a file.")
    counts = Counts()
    try:
        rest = Rest(chain([first], found), _rows_before(request, output, model, record, counts), record.roots)
        with _progress(request, output) as bar:
            _write_rows(rest, output, model, request.options, layout, counts, bar)
    except (KeyboardInterrupt, SystemExit):
        more = "; --resume goes on" if output.can_be_resumed else ""
        _say(f"Stopped. {counts.total:,} rows are written: {output.where}{more}")
        raise
    finally:
        output.close()
    if rest.appeared:
        _say(
            f"{rest.appeared:,} files came in before the point this scan had reached, for example "
            f"{rest.example}: they have no row; scan them alone, or all again with --overwrite"
        )
    if not request.quiet:
        ending = _ending(model, tally, output, time.perf_counter() - start, request.options)
        if console is None:
            from rich.console import Console

            console = Console(stderr=True, highlight=False)
        print_summary(counts, ending, console)
    return SOME_FILES_UNREADABLE if counts.errors or tally.closed_folders else 0


def _record(request: Request, model: Model, layout: Layout) -> Record:
    """Return what the rows of this scan depend on."""
    alone = len(request.paths) == 1 and os.path.isdir(request.paths[0])
    return Record(
        digitscan=__version__,
        # Rows show the paths as they were given, but not that of a folder alone.
        roots=() if alone else tuple(path.as_posix() for path in request.paths),
        places=tuple(os.path.realpath(path) for path in request.paths),
        model=model.digest,
        quick_model=model.quick.digest if model.quick else None,
        preprocess_version=model.facts.preprocess_version,
        input_maximum=model.facts.input_maximum,
        min_confidence=request.options.min_confidence,
        max_megapixels=request.options.max_megapixels,
        columns=layout.columns,
        raw=layout.raw,
        excel=layout.excel,
    )


def _rows_before(
    request: Request, output: Output, model: Model, record: Record, counts: Counts
) -> Iterable[Prediction]:
    """Open the output; return the rows that stand there already, each counted as it is taken.

    A new output gets its record first: no row is ever without. Of an old one what a killed scan left of
    its last row is cut off, and files that could not be read are read again if that was asked for.
    """
    file = output.open()
    if output.path is None or not output.can_be_resumed:
        return ()
    layout = record.layout
    with output.failures_said():
        if not output.goes_on:
            begin_anew(output.path, file, record)
            return ()
        check_record(output.path, record)  # again, now that nobody else writes there
        if cut_to_whole_records(file) == 0:
            output.goes_on = False
            return ()
    if request.retry_errors:
        retry_errors(output, request.paths, model, request.options, layout)
    return counts.counted(read_csv(output.path, layout.raw))


def _write_rows(
    rest: Iterable[Found],
    output: Output,
    model: Model,
    options: ScanOptions,
    layout: Layout,
    counts: Counts,
    bar: tqdm[Never] | None,
) -> None:
    """Write a row for each file that is left, whole rows at a time."""
    with contextlib.closing(scan_in_batches(rest, model, options)) as batches:
        with output.failures_said():
            writer = CsvWriter(output.file, layout, header=not output.goes_on)
        for rows in batches:
            with output.failures_said():
                writer.write(rows)
            output.sync()
            counts.add(rows)
            if bar is not None:
                bar.initial = counts.before  # what took no time now tells nothing of the time left
                bar.update(counts.total - bar.n)


@contextlib.contextmanager
def _progress(request: Request, output: Output) -> Iterator[tqdm[Never] | None]:
    """Show a progress bar where a person watches; files are counted beside, to tell the time left."""
    if request.quiet or output.on_terminal or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    # Its monitor thread is of no use here: every batch updates the bar.
    tqdm.monitor_interval = 0
    with tqdm(unit=" images", leave=False, dynamic_ncols=True, file=sys.stderr) as bar:

        def count() -> None:
            bar.total = max(count_images(request.paths), bar.n)

        with contextlib.suppress(RuntimeError):  # no more threads: it goes without the time left
            threading.Thread(target=count, daemon=True).start()
        yield bar


def _ending(model: Model, tally: Tally, output: Output, seconds: float, options: ScanOptions) -> Ending:
    facts = model.facts
    return Ending(
        model=f"{model.name} ({facts.architecture}, {model.digest[:12]})",
        seconds=seconds,
        where=output.where,
        skipped=tally.skipped,
        closed_folders=tuple(tally.closed_folders),
        calibrated=facts.ok_confidence is not None or options.min_confidence is not None,
    )


def _nothing(paths: Sequence[Path], tally: Tally) -> str:
    where = ", ".join(repr(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    if tally.closed_folders:
        return f"No images found: there is no permission to read {where}. Ask for it, or name another folder."
    others = f" ({tally.skipped.total():,} other files)" if tally.skipped else ""
    formats = "PNG, JPEG, BMP, GIF, TIFF or WebP"
    return f"No images found in {where}{others}. Name a folder that holds {formats} files."


def _say(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)
