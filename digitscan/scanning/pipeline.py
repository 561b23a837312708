"""A whole scan: `Scan` turns paths into predictions, `run_scan` writes them and prints the summary."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import ExitCode, NoImagesError, OutputError, UsageError
from digitscan.prediction import ImageFile, Prediction
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.context import ScanContext
from digitscan.scanning.discovery import (
    WalkStats,
    check_paths,
    drop_repeated,
    find_images,
)
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.output_writer import OutputWriter
from digitscan.scanning.pages import find_pages
from digitscan.scanning.preparation import (
    check_can_continue,
    create_manifest,
    open_output,
)
from digitscan.scanning.report import (
    SummaryContext,
    SummaryCounts,
    describe_model,
    describe_poor_accuracy,
    format_skipped,
    print_summary,
)
from digitscan.scanning.scheduler import predict
from digitscan.system.file_filter import FileFilter
from digitscan.system.log import log
from digitscan.workers.kind_detector import KindDetector
from digitscan.workers.supervisor import ProcessFactory

if TYPE_CHECKING:
    from rich.console import Console

    from digitscan.model.registry import Model
    from digitscan.scanning.review_copies import ReviewCopies


class Scan(Iterator[Prediction]):
    """The predictions for all images among some paths: an iterator, and a context manager.

    Relative paths are opened from the current folder, which must not change meanwhile. Folders that cannot
    be opened have no row: `stats.unreadable_folders` lists them.

    Reading starts with the first prediction asked for, in worker processes; files are found as they are
    needed, so that a folder of any size takes the same memory. The workers end after the last prediction, at
    `close`, at the end of a `with` block, or when the Scan is no longer referenced.

    >>> with Scan("examples/digits", ScanConfig(model="cnn")) as scan:
    ...     first = next(scan)
    >>> (first.path, first.digit, first.status.value)
    ('black-and-white.gif', 6, 'ok')
    """

    def __init__(
        self,
        paths: str | Path | Iterable[str | Path],
        config: ScanConfig | None = None,
        listed: Sequence[Path] = (),
    ) -> None:
        """Take one path or several, of folders and image files. Raises UsageError if one does not exist.

        `listed` are more of them, from a list that may be older than the files: one that does not exist is a
        prediction with status ERROR.
        """
        given = [paths] if isinstance(paths, str | os.PathLike) else [*paths]
        if "" in given:  # `Path("")` is the current folder, which nobody asked for
            raise UsageError("an empty path was given: name a folder or an image")
        if not (given or listed):
            raise UsageError("no path was given: name a folder or an image")
        named = [Path(path) for path in given]
        check_paths(named)
        self.paths = drop_repeated(chain(named, listed))
        """The paths, each file and folder once."""
        self.config = config or ScanConfig()
        self.stats = WalkStats()
        """What was found and skipped so far."""
        self._predictions: Iterator[Prediction] | None = None

    @cached_property
    def model(self) -> Model:
        """The model that reads the images, loaded at the first use. Raises ModelError or UsageError."""
        from digitscan.model.registry import load_model

        return load_model(
            self.config.model,
            input_range=self.config.input_range,
            sha256=self.config.model_sha256,
            numbers=self.config.numbers,
            log=log,
        )

    def __next__(self) -> Prediction:
        """Return the prediction for the next file, in the order that `find_images` describes.

        Raises NoImagesError if there is no image at all, ModelError if the model cannot be used,
        DigitscanError if no worker can be kept alive. A file that cannot be read is a prediction with status
        ERROR.
        """
        if self._predictions is None:
            self._predictions = iter(())  # if it cannot start, there are none the next time either
            model = self.model
            # Not a generator of this class: that would keep the Scan, and so the workers, alive.
            self._predictions = _predict_paths(self.paths, self.stats, model, self.config)
        return next(self._predictions)

    def __enter__(self) -> Scan:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers."""
        self.close()

    def close(self) -> None:
        """End the workers; there are no more predictions."""
        predictions, self._predictions = self._predictions, iter(())
        if isinstance(predictions, Generator):
            predictions.close()


def _predict_paths(
    paths: Sequence[Path], stats: WalkStats, model: Model, config: ScanConfig
) -> Iterator[Prediction]:
    """Yield the prediction for each file among the paths. Raises what `Scan.__next__` does."""
    with contextlib.closing(ProcessFactory()) as process_factory:
        files = _find_files(paths, stats, config, process_factory)
        pages = find_pages(files, config, process_factory)
        yield from predict(pages, model, config, process_factory)


def _find_files(
    paths: Sequence[Path],
    stats: WalkStats,
    config: ScanConfig,
    process_factory: ProcessFactory,
    own_files: Collection[Path] = (),
) -> Iterator[ImageFile]:
    """Return the files to read, without those in `own_files`. Raises NoImagesError if there are none."""
    detector = KindDetector(process_factory, config.timeout)
    files = _find_with_detector(paths, stats, detector, own_files, config.file_filter)
    first = next(files, None)
    if first is None:
        raise NoImagesError(_no_images_message(paths, stats))
    return chain([first], files)


def _find_with_detector(
    paths: Sequence[Path],
    stats: WalkStats,
    detector: KindDetector,
    own_files: Collection[Path],
    file_filter: FileFilter,
) -> Iterator[ImageFile]:
    """Yield what `find_images` does, and close the detector at the end."""
    with detector:
        yield from find_images(paths, stats, detector.ask, own_files, file_filter)


def scan(paths: str | Path | Iterable[str | Path], config: ScanConfig | None = None) -> Scan:
    """Return the predictions for all images among some paths, one for each file, in a stable order.

    `paths` is a folder or an image file, or several. Folders are read with their subfolders. A file that
    cannot be read is a prediction with status ERROR: it never ends the scan.

    Works in a script, a notebook and a child process however that was started; scripts need no
    `if __name__ == "__main__"`. Raises UsageError if a path does not exist, ModelError if the model is
    missing, broken or refused. Iterating raises NoImagesError if there is no image among the paths, and
    DigitscanError if no worker process can be kept alive.

    >>> import digitscan
    >>> rows = list(digitscan.scan("examples/digits", digitscan.ScanConfig(model="cnn")))
    >>> len(rows), rows[0].digit, rows[0].confidence > 0.9
    (32, 6, True)
    """
    predictions = Scan(paths, config)
    _ = predictions.model  # a model that cannot be used is an error here, not in the loop
    return predictions


def run_scan(
    paths: Sequence[Path],
    config: ScanConfig,
    output_config: OutputConfig,
    console: Console | None = None,
    listed: Sequence[Path] = (),
) -> ExitCode:
    """Scan, write the CSV, print the summary; return OK, or UNREADABLE_FILES if some files could not be read.

    `listed` are paths of a list, see `Scan`. The summary goes to `console`, by default one on stderr.

    Raises UsageError, OutputError, ModelError or NoImagesError before anything is written, OutputError later
    if the disk fails, OutputClosedError if the reader of stdout has gone.
    """
    start = time.perf_counter()
    scan = Scan(paths, config, listed)
    with contextlib.closing(ProcessFactory()) as process_factory:
        return _scan_into_output(scan, output_config, process_factory, console, start)


def _scan_into_output(
    scan: Scan,
    output_config: OutputConfig,
    process_factory: ProcessFactory,
    console: Console | None,
    start: float,
) -> ExitCode:
    """Do what `run_scan` says, with processes of the factory; `start` is when the scan began."""
    sink = OutputSink(output_config)
    copies = _create_copies(scan.paths, output_config)
    manifest = create_manifest(scan.paths, scan.model, scan.config, output_config)
    check_can_continue(sink, manifest, output_config)
    if output_config.list_skipped:
        scan.stats.report_skipped = _log_skipped
    files = _find_files(scan.paths, scan.stats, scan.config, process_factory, sink.own_files)
    if output_config.path is None and not (sink.is_kept or output_config.quiet):
        log("The rows go to stdout; -o FILE keeps them in a file.")
    context = ScanContext(scan.paths, scan.config, scan.model, process_factory)
    writer = OutputWriter(sink, output_config, manifest, context, copies)
    try:
        stored = open_output(sink, manifest, output_config)
        writer.write(files, stored)
    except (KeyboardInterrupt, SystemExit):
        writer.log_stop()
        raise
    finally:
        sink.close()
    writer.log_end()
    if not output_config.quiet:
        _print_summary(scan, sink, writer.counts, time.perf_counter() - start, console)
    if sink.change:
        raise OutputError(sink.change)
    has_failures = writer.counts.errors or scan.stats.unreadable_folders
    return ExitCode.UNREADABLE_FILES if has_failures else ExitCode.OK


def _create_copies(paths: Sequence[Path], output_config: OutputConfig) -> ReviewCopies | None:
    folder = output_config.copy_review
    if folder is None:
        return None
    from digitscan.scanning.review_copies import ReviewCopies

    return ReviewCopies(folder, paths, output_config.continues)


def _log_skipped(path: str, reason: str) -> None:
    log(f"skipped: {path} ({reason})")


def _print_summary(
    scan: Scan, sink: OutputSink, counts: SummaryCounts, seconds: float, console: Console | None
) -> None:
    if console is None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
    metadata = scan.model.metadata
    context = SummaryContext(
        model=describe_model(scan.model),
        seconds=seconds,
        output=sink.description,
        csv=sink.path,
        skipped=scan.stats.skipped,
        unreadable_folders=tuple(scan.stats.unreadable_folders),
        poor_accuracy=describe_poor_accuracy(scan.model),
        numbers=scan.config.numbers,
        is_calibrated=metadata.ok_confidence is not None or scan.config.min_confidence is not None,
    )
    print_summary(counts, context, console)


def _no_images_message(paths: Sequence[Path], stats: WalkStats) -> str:
    names = ", ".join(repr(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    if stats.unreadable_folders:
        return f"No images found: there is no permission to read {names}. Ask for it, or name another folder."
    skipped = f"; skipped {format_skipped(stats.skipped)}" if stats.skipped else ""
    formats = "PNG, JPEG, BMP, GIF, TIFF, WebP or PDF"
    return f"No images found in {names}{skipped}. Name a folder that holds {formats} files."
