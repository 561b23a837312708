"""The progress bar of a scan."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

from digitscan.scanning.discovery import count_images
from digitscan.scanning.report import SummaryCounts
from digitscan.system.file_filter import FileFilter

if TYPE_CHECKING:
    from tqdm import tqdm

UpdateProgress = Callable[[SummaryCounts], None]
"""Shows that so many rows are there."""


@contextlib.contextmanager
def progress_bar(paths: Sequence[Path], file_filter: FileFilter, is_wanted: bool) -> Iterator[UpdateProgress]:
    """Show a progress bar if it is wanted and stderr is a terminal; give a function that updates it.

    A thread counts the files meanwhile, so that the bar can tell the time left.
    """
    if not is_wanted or not sys.stderr.isatty():
        yield lambda counts: None
        return
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread that redraws the bar: every batch does
    # tqdm's own lock is one of multiprocessing, which may start a Python that imports from this folder.
    tqdm.set_lock(threading.RLock())
    bar: tqdm[Never]
    with tqdm(unit=" images", leave=False, dynamic_ncols=True, file=sys.stderr) as bar:

        def count_files() -> None:
            bar.total = max(count_images(paths, file_filter), bar.n)

        def update(counts: SummaryCounts) -> None:
            bar.initial = counts.previous_rows  # rows that took no time say nothing about the time left
            bar.update(counts.total - bar.n)

        with contextlib.suppress(RuntimeError):  # the system has no more threads: the bar shows no time left
            threading.Thread(target=count_files, daemon=True).start()
        yield update
