"""A whole scan: `Scan` turns paths into predictions, `run_scan` writes them and prints the summary."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import ExitCode, NoImagesError, OutputError, UsageError
from digitscan.prediction import ImageFile, Prediction
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.discovery import (
    WalkStats,
    check_paths,
    drop_repeated,
    find_images,
    list_roots,
)
from digitscan.scanning.moved_images import check_same_images
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.csv_format import CsvFormat, CsvReader, CsvRow, CsvWriter
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.pages import find_pages
from digitscan.scanning.preparation import (
    check_can_continue,
    create_manifest,
    open_output,
    prepare_to_continue,
)
from digitscan.scanning.progress import UpdateProgress, progress_bar
from digitscan.scanning.report import (
    SummaryContext,
    SummaryCounts,
    describe_model,
    describe_poor_accuracy,
    format_skipped,
    print_summary,
)
from digitscan.scanning.resume import RemainingFiles
from digitscan.scanning.retry import retry_errors, rewrite_rows
from digitscan.scanning.scheduler import Scheduler, predict
from digitscan.scanning.update import LastRead, UpdateCounts, find_files_to_read, merge_rows
from digitscan.system.file_filter import FileFilter
from digitscan.system.log import format_count, log
from digitscan.workers.kind_detector import KindDetector
from digitscan.workers.supervisor import ProcessFactory

if TYPE_CHECKING:
    from rich.console import Console

    from digitscan.model.registry import Model
    from digitscan.scanning.output.manifest import ScanManifest, StoredScan
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
    run = _OutputRun(scan, output_config, sink, manifest.csv_format, copies, process_factory)
    try:
        stored = open_output(sink, manifest, output_config)
        if stored:
            run.prepare(manifest, stored)
        if output_config.retry_errors and sink.appending:
            retry_errors(sink, scan.paths, scan.model, scan.config, manifest.csv_format, process_factory)
        if output_config.update and stored:
            run.update(files, stored)
            sink.replace_manifest(manifest)
        else:
            run.append(files)
        sink.mark_complete()
    except (KeyboardInterrupt, SystemExit):
        run.log_stop()
        raise
    finally:
        sink.close()
    run.log_end()
    if not output_config.quiet:
        _print_summary(scan, sink, run.counts, time.perf_counter() - start, console)
    if sink.change:
        raise OutputError(sink.change)
    has_failures = run.counts.errors or scan.stats.unreadable_folders
    return ExitCode.UNREADABLE_FILES if has_failures else ExitCode.OK


class _OutputRun:
    """The part of a scan that writes its rows into an open output."""

    def __init__(
        self,
        scan: Scan,
        output_config: OutputConfig,
        sink: OutputSink,
        csv_format: CsvFormat,
        copies: ReviewCopies | None,
        process_factory: ProcessFactory,
    ) -> None:
        self.counts = SummaryCounts()
        self._scan, self._output_config, self._sink = scan, output_config, sink
        self._csv_format, self._copies, self._process_factory = csv_format, copies, process_factory
        self._remaining: RemainingFiles | None = None
        self._update_counts: UpdateCounts | None = None

    @contextlib.contextmanager
    def _reading(self, files: Iterable[ImageFile]) -> Iterator[tuple[Scheduler, UpdateProgress]]:
        """Give what reads files, and what shows that rows are written."""
        scan, config = self._scan, self._output_config
        shows_progress = not (config.quiet or config.list_skipped or self._sink.is_terminal)
        with (
            contextlib.closing(find_pages(files, scan.config, self._process_factory)) as pages,
            Scheduler(pages, scan.model, scan.config, self._process_factory) as scheduler,
            progress_bar(scan.paths, scan.config.file_filter, shows_progress) as update_progress,
        ):
            yield scheduler, update_progress

    def prepare(self, manifest: ScanManifest, stored: StoredScan) -> None:
        """Check that the rows which are continued are those of the images, and bring them into order."""
        scan = self._scan
        if stored.moved_from:
            check_same_images(
                self._sink,
                stored.moved_from,
                scan.paths,
                scan.model,
                scan.config,
                self._csv_format,
                self._process_factory,
            )
        prepare_to_continue(self._sink, manifest, stored, scan.paths)

    def append(self, files: Iterable[ImageFile]) -> None:
        """Write the rows of the files that have none, behind those that are there."""
        previous_rows = self._sink.read_rows(self._csv_format.raw)
        roots = list_roots(self._scan.paths) if self._sink.appending else ()
        counted_rows = self._count_previous(previous_rows or ())
        self._remaining = RemainingFiles(files, counted_rows, roots)
        with self._reading(self._remaining) as (scheduler, update_progress):
            self._append_batches(scheduler.batches(), previous_rows, update_progress)

    def _count_previous(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        counted = self.counts.count_previous(rows)
        return self._copies.add_previous(counted) if self._copies else counted

    def _append_batches(
        self,
        batches: Iterator[list[Prediction]],
        previous_rows: CsvReader | None,
        update_progress: UpdateProgress,
    ) -> None:
        """Write the batches as they come, whole rows at a time, behind the previous rows."""
        # The first batch comes when all previous rows have been read: until then nothing is changed.
        first = next(batches, [])
        sink = self._sink
        sink.prepare_to_append(previous_rows)
        extra_columns = previous_rows.extra_columns if previous_rows else ()

        def start_writer(header: bool) -> CsvWriter:
            return CsvWriter(sink.file, self._csv_format, header, sink.is_terminal, extra_columns)

        with sink.translate_os_errors():
            writer = start_writer(header=not sink.appending)
        try:
            for batch in chain([first], batches):
                with sink.translate_os_errors():
                    if sink.has_changed():
                        writer = start_writer(header=not sink.rescue())
                    writer.write(batch)
                sink.sync()
                self._count(batch)
                update_progress(self.counts)
        finally:
            with sink.translate_os_errors():
                if sink.has_changed():
                    sink.rescue(has_more_rows=False)

    def _count(self, rows: Sequence[Prediction]) -> None:
        self.counts.add(rows)
        if self._copies:
            self._copies.add(rows)

    def update(self, files: Iterable[ImageFile], stored: StoredScan) -> None:
        """Replace the output by one with the rows of all files, in order; what has not changed is kept."""
        self._update_counts = UpdateCounts()
        rows, known_rows = (self._sink.read_rows(self._csv_format.raw) for _ in range(2))
        assert rows and known_rows
        roots = list_roots(self._scan.paths)
        changed = find_files_to_read(
            files, known_rows, roots, LastRead.of(stored), self._update_counts, not self._sink.is_complete
        )
        rows.read_header()
        with self._reading(changed) as (scheduler, update_progress):
            new_rows = chain.from_iterable(scheduler.batches())
            counts = self._update_counts
            merged = merge_rows(
                rows.rows(), new_rows, roots, rows.extra_columns, self._sink.is_edited, counts
            )

            def count(batch: Sequence[CsvRow]) -> None:
                kept = (row.prediction for row in batch if row.cells)
                deque(self._count_previous(kept), maxlen=0)
                self._count([row.prediction for row in batch if not row.cells])
                update_progress(self.counts)

            rewrite_rows(self._sink, self._csv_format, rows.extra_columns, merged, count)

    def log_stop(self) -> None:
        """Say what an interrupted scan leaves."""
        sink = self._sink
        if self._update_counts:
            log(f"Stopped. {sink.description} is whole; run it again to read what is new or has changed")
            return
        hint = "; --resume continues" if sink.is_resumable else ""
        total = self.counts.total
        written = f"{format_count(total, 'row')} {'is' if total == 1 else 'are'} written"
        log(f"Stopped. {sink.change or f'{written}: {sink.description}{hint}'}")

    def log_end(self) -> None:
        """Say what an update has done, and which files a resumed scan has left out."""
        if self._update_counts and not self._output_config.quiet:
            log(f"{self._sink.description}: {self._update_counts.description}")
        count = self._remaining.missed_count if self._remaining else 0
        if self._remaining and count:
            example = self._remaining.missed_example
            added = (
                f"{example} was added" if count == 1 else f"{count:,} files, such as {example}, were added"
            )
            log(
                f"{added} before the point that this scan had reached, and so without a row: --update reads "
                f"{'it' if count == 1 else 'them'}"
            )


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
