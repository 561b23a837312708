"""Ask supervised processes how many pages files have, see `page_counts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from digitscan.imaging.formats import MAX_MEGAPIXELS, MAX_PAGES, may_have_pages
from digitscan.workers.file_reader import read_files
from digitscan.workers.inspector import Inspector
from digitscan.workers.protocol import CountSetup, FileLocation
from digitscan.workers.supervisor import ProcessFactory


class PageCounter(Inspector[int]):
    """Counts the pages of files; 1 for one that blocks, or ends the worker: whoever reads it says why."""

    def __init__(
        self, process_factory: ProcessFactory, timeout: float, max_megapixels: float, frames: bool
    ) -> None:
        """Take what starts the worker, the seconds that one file may take, and whether frames are pages."""
        setup = CountSetup(does="count pages", shared_path=None, frames=frames, max_megapixels=max_megapixels)
        super().__init__(setup, process_factory, timeout)

    def _parse(self, value: Any) -> int:
        return parse_page_count(value)

    def _answer_for_failure(self) -> int:
        return 1


def list_pages(files: Sequence[FileLocation]) -> list[list[FileLocation]]:
    """Return the pages of each file, up to MAX_PAGES; the file itself if it has one, or is a page already.

    Frames are no pages. Raises DigitscanError if no worker can be kept alive.
    """
    asked = [index for index, file in enumerate(files) if not file.page and may_have_pages(file.path)]
    pages = [[file] for file in files]
    if asked:
        setup = _create_setup(MAX_MEGAPIXELS, frames=False)
        counts = read_files([files[index] for index in asked], setup, parse_page_count)
        for index, count in zip(asked, counts, strict=True):
            if not isinstance(count, str) and count > 1:  # where it is text, whoever reads the file says why
                numbers = range(1, min(count, MAX_PAGES) + 1)
                pages[index] = [files[index]._replace(page=page) for page in numbers]
    return pages


def parse_page_count(value: Any) -> int:
    """Return a number of pages as a worker sent it. A file may have taken over the worker."""
    return value if isinstance(value, int) and value > 0 else 1


def _create_setup(max_megapixels: float, frames: bool) -> CountSetup:
    return CountSetup(does="count pages", shared_path=None, frames=frames, max_megapixels=max_megapixels)
