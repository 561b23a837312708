"""One scan from the paths to the CSV and its summary: what the command `scan` calls."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Never

from digitscan.errors import SOME_FILES_UNREADABLE, NoImagesError
from digitscan.find import Tally, check_paths, count_images, find_images
from digitscan.output import Output
from digitscan.results import CsvWriter
from digitscan.scan import ScanOptions, scan_in_batches
from digitscan.streams import plain
from digitscan.summary import Counts, Ending, print_summary

if TYPE_CHECKING:
    from rich.console import Console
    from tqdm import tqdm

    from digitscan.model import Model


@dataclass(frozen=True)
class Request:
    """What the user asked for. output: a file's name, "-" for stdout, None to choose."""

    paths: Sequence[Path]
    model: str | None = None
    input_maximum: float | None = None
    output: str | None = None
    overwrite: bool = False
    quiet: bool = False
    options: ScanOptions = field(default_factory=ScanOptions)


def run(request: Request, console: Console | None = None) -> int:
    """Scan, write, and say what was done; return the exit code: 0, or 3 if some files failed.

    The summary goes to `console`, by default one on stderr.

    Raises UsageError, OutputError, ModelError or NoImagesError before anything is written, OutputError
    later if the disk fails, ReaderGoneError if stdout's reader has gone.
    """
    from digitscan.model import open_model

    start = time.perf_counter()
    check_paths(request.paths)
    output = Output(request.output, request.overwrite)
    model = open_model(request.model, input_maximum=request.input_maximum, say=_say)
    tally = Tally()
    found = find_images(request.paths, tally, [output.path] if output.path else [])
    first = next(found, None)
    if first is None:
        raise NoImagesError(_nothing(request.paths, tally))
    if output.path is None and request.output is None and not request.quiet:
        _say("The rows go to stdout; -o FILE keeps them in a file.")
    counts = Counts()
    file = output.open()
    batches = scan_in_batches(chain([first], found), model, request.options)
    with contextlib.closing(batches), _progress(request, output) as bar:
        try:
            with output.failures_said():
                writer = CsvWriter(file, request.options.probabilities)
            for rows in batches:
                with output.failures_said():
                    writer.write(rows)
                counts.add(rows)
                if bar is not None:
                    bar.update(len(rows))
        except (KeyboardInterrupt, SystemExit):
            _say(f"Stopped. {counts.total:,} rows are written: {output.where}")
            raise
        finally:
            output.close()
    if not request.quiet:
        ending = _ending(model, tally, output, time.perf_counter() - start, request.options)
        if console is None:
            from rich.console import Console

            console = Console(stderr=True, highlight=False)
        print_summary(counts, ending, console)
    return SOME_FILES_UNREADABLE if counts.errors or tally.closed_folders else 0


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
