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
from digitscan.prediction import ImageFile, Prediction
from digitscan.scanning.discovery import WalkStats, check_paths, count_images, find_images
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter, read_csv, truncate_to_whole_rows
from digitscan.scanning.output.manifest import ScanManifest, check_manifest, start_output
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.report import SummaryContext, SummaryCounts, print_summary
from digitscan.scanning.resume import RemainingFiles
from digitscan.scanning.retry import retry_errors
from digitscan.scanning.scheduler import ScanOptions, predict_in_batches
from digitscan.system.log import log

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
    later if the disk fails, OutputClosedError if stdout's reader has gone.
    """
    from digitscan.model.registry import load_model

    start = time.perf_counter()
    if request.overwrite and (request.resume or request.retry_errors):
        raise UsageError("--overwrite begins anew, --resume and --retry-errors go on: choose")
    check_paths(request.paths)
    output = OutputSink(request.output, request.overwrite, request.resume or request.retry_errors)
    model = load_model(
        request.model, input_maximum=request.input_maximum, sha256=request.model_sha256, say=log
    )
    csv_format = CsvFormat(request.options.probabilities, request.raw, request.excel)
    record = _record(request, model, csv_format)
    if output.appending and output.path:
        check_manifest(output.path, record)
    elif request.retry_errors:
        raise OutputError(f"{output.where} holds no rows yet: there is nothing to read again")
    stats = WalkStats()
    found = find_images(request.paths, stats, output.own_files)
    first = next(found, None)
    if first is None:
        raise NoImagesError(_nothing(request.paths, stats))
    if output.path is None and request.output is None and not request.quiet:
        log("The rows go to stdout; -o FILE keeps them in a file.")
    counts = SummaryCounts()
    try:
        rest = RemainingFiles(
            chain([first], found), _rows_before(request, output, model, record, counts), record.roots
        )
        with _progress(request, output) as bar:
            _write_rows(rest, output, model, request.options, csv_format, counts, bar)
    except (KeyboardInterrupt, SystemExit):
        more = "; --resume goes on" if output.is_resumable else ""
        log(f"Stopped. {counts.total:,} rows are written: {output.where}{more}")
        raise
    finally:
        output.close()
    if rest.appeared:
        log(
            f"{rest.appeared:,} files came in before the point this scan had reached, for example "
            f"{rest.example}: they have no row; scan them alone, or all again with --overwrite"
        )
    if not request.quiet:
        context = _ending(model, stats, output, time.perf_counter() - start, request.options)
        if console is None:
            from rich.console import Console

            console = Console(stderr=True, highlight=False)
        print_summary(counts, context, console)
    return SOME_FILES_UNREADABLE if counts.errors or stats.unreadable_folders else 0


def _record(request: Request, model: Model, csv_format: CsvFormat) -> ScanManifest:
    """Return what the rows of this scan depend on."""
    alone = len(request.paths) == 1 and os.path.isdir(request.paths[0])
    return ScanManifest(
        digitscan=__version__,
        # Rows show the paths as they were given, but not that of a folder alone.
        roots=() if alone else tuple(path.as_posix() for path in request.paths),
        places=tuple(os.path.realpath(path) for path in request.paths),
        model=model.digest,
        quick_model=model.fast_model.digest if model.fast_model else None,
        preprocess_version=model.metadata.preprocess_version,
        input_maximum=model.metadata.input_maximum,
        min_confidence=request.options.min_confidence,
        max_megapixels=request.options.max_megapixels,
        columns=csv_format.columns,
        raw=csv_format.raw,
        excel=csv_format.excel,
    )


def _rows_before(
    request: Request, output: OutputSink, model: Model, record: ScanManifest, counts: SummaryCounts
) -> Iterable[Prediction]:
    """Open the output; return the rows that stand there already, each counted as it is taken.

    A new output gets its record first: no row is ever without. Of an old one what a killed scan left of
    its last row is cut off, and files that could not be read are read again if that was asked for.
    """
    file = output.open()
    if output.path is None or not output.is_resumable:
        return ()
    csv_format = record.csv_format
    with output.translate_os_errors():
        if not output.appending:
            start_output(output.path, file, record)
            return ()
        check_manifest(output.path, record)  # again, now that nobody else writes there
        if truncate_to_whole_rows(file) == 0:
            output.appending = False
            return ()
    if request.retry_errors:
        retry_errors(output, request.paths, model, request.options, csv_format)
    return counts.counted(read_csv(output.path, csv_format.raw))


def _write_rows(
    rest: Iterable[ImageFile],
    output: OutputSink,
    model: Model,
    options: ScanOptions,
    csv_format: CsvFormat,
    counts: SummaryCounts,
    bar: tqdm[Never] | None,
) -> None:
    """Write a row for each file that is left, whole rows at a time."""
    with contextlib.closing(predict_in_batches(rest, model, options)) as batches:
        with output.translate_os_errors():
            writer = CsvWriter(output.file, csv_format, header=not output.appending)
        for rows in batches:
            with output.translate_os_errors():
                writer.write(rows)
            output.sync()
            counts.add(rows)
            if bar is not None:
                bar.initial = counts.before  # what took no time now tells nothing of the time left
                bar.update(counts.total - bar.n)


@contextlib.contextmanager
def _progress(request: Request, output: OutputSink) -> Iterator[tqdm[Never] | None]:
    """Show a progress bar where a person watches; files are counted beside, to tell the time left."""
    if request.quiet or output.is_terminal or not sys.stderr.isatty():
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


def _ending(
    model: Model, stats: WalkStats, output: OutputSink, seconds: float, options: ScanOptions
) -> SummaryContext:
    metadata = model.metadata
    return SummaryContext(
        model=f"{model.name} ({metadata.architecture}, {model.digest[:12]})",
        seconds=seconds,
        where=output.where,
        skipped=stats.skipped,
        unreadable_folders=tuple(stats.unreadable_folders),
        calibrated=metadata.ok_confidence is not None or options.min_confidence is not None,
    )


def _nothing(paths: Sequence[Path], stats: WalkStats) -> str:
    where = ", ".join(repr(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    if stats.unreadable_folders:
        return f"No images found: there is no permission to read {where}. Ask for it, or name another folder."
    others = f" ({stats.skipped.total():,} other files)" if stats.skipped else ""
    formats = "PNG, JPEG, BMP, GIF, TIFF or WebP"
    return f"No images found in {where}{others}. Name a folder that holds {formats} files."
