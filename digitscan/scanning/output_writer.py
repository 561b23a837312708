"""Write the rows of a scan into its output: start it, add what is missing, or bring it up to date."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from digitscan.prediction import ImageFile, Prediction
from digitscan.scanning.context import ScanContext
from digitscan.scanning.discovery import list_roots
from digitscan.scanning.moved_images import check_same_images
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.csv_format import CsvReader, CsvRow, CsvWriter
from digitscan.scanning.output.manifest import ScanManifest, StoredScan
from digitscan.scanning.output.sink import OutputSink
from digitscan.scanning.pages import find_pages
from digitscan.scanning.preparation import prepare_to_continue
from digitscan.scanning.progress import UpdateProgress, progress_bar
from digitscan.scanning.report import SummaryCounts
from digitscan.scanning.resume import RemainingFiles
from digitscan.scanning.retry import retry_errors, rewrite_rows
from digitscan.scanning.scheduler import Scheduler
from digitscan.scanning.update import LastRead, UpdateCounts, find_files_to_read, merge_rows
from digitscan.system.log import format_count, log

if TYPE_CHECKING:
    from digitscan.scanning.review_copies import ReviewCopies


class OutputWriter:
    """Writes the rows of a scan into an open output: behind those that are there, or all of them anew."""

    def __init__(
        self,
        sink: OutputSink,
        output_config: OutputConfig,
        manifest: ScanManifest,
        context: ScanContext,
        copies: ReviewCopies | None,
    ) -> None:
        """Take the output, which is opened later, and what its rows depend on."""
        self.counts = SummaryCounts()
        """The rows so far, those of earlier scans among them."""
        self._sink, self._output_config, self._manifest = sink, output_config, manifest
        self._csv_format, self._context, self._copies = manifest.csv_format, context, copies
        self._remaining: RemainingFiles | None = None
        self._update_counts: UpdateCounts | None = None

    def write(self, files: Iterable[ImageFile], stored: StoredScan | None) -> None:
        """Write the rows of the files; `stored` is the scan that is continued, None if none is.

        Raises OutputError, OutputClosedError, NoImagesError, ModelError and DigitscanError.
        """
        if stored:
            self._prepare(stored)
        if self._output_config.retry_errors and self._sink.appending:
            retry_errors(self._sink, self._csv_format, self._context)
        if self._output_config.update and stored:
            self._update(files, stored)
            self._sink.replace_manifest(self._manifest)
        else:
            self._append(files)
        self._sink.mark_complete()

    def _prepare(self, stored: StoredScan) -> None:
        """Check that the rows which are continued are those of the images, and bring them into order."""
        if stored.moved_from:
            check_same_images(self._sink, self._csv_format, self._context, stored.moved_from)
        prepare_to_continue(self._sink, self._manifest, stored, self._context.paths)

    @contextlib.contextmanager
    def _reading(self, files: Iterable[ImageFile]) -> Iterator[tuple[Scheduler, UpdateProgress]]:
        """Give what reads files, and what shows that rows are written."""
        output_config = self._output_config
        shows_progress = not (output_config.quiet or output_config.list_skipped or self._sink.is_terminal)
        paths, config, model, process_factory = self._context
        with (
            contextlib.closing(find_pages(files, config, process_factory)) as pages,
            Scheduler(pages, model, config, process_factory) as scheduler,
            progress_bar(paths, config.file_filter, shows_progress) as update_progress,
        ):
            yield scheduler, update_progress

    def _append(self, files: Iterable[ImageFile]) -> None:
        """Write the rows of the files that have none, behind those that are there."""
        previous_rows = self._sink.read_rows(self._csv_format.raw)
        roots = list_roots(self._context.paths) if self._sink.appending else ()
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

    def _update(self, files: Iterable[ImageFile], stored: StoredScan) -> None:
        """Replace the output by one with the rows of all files, in order; what has not changed is kept."""
        self._update_counts = UpdateCounts()
        rows, known_rows = (self._sink.read_rows(self._csv_format.raw) for _ in range(2))
        assert rows and known_rows
        roots = list_roots(self._context.paths)
        changed = find_files_to_read(
            files, known_rows, roots, LastRead.of(stored), self._update_counts, not self._sink.was_complete
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
