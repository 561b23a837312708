"""Ask supervised processes how many pages files have, see `page_counts`."""

from __future__ import annotations

from typing import Any

from digitscan.workers.inspector import Inspector
from digitscan.workers.protocol import CountSetup
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


def parse_page_count(value: Any) -> int:
    """Return a number of pages as a worker sent it. A file may have taken over the worker."""
    return value if isinstance(value, int) and value > 0 else 1


def _create_setup(max_megapixels: float, frames: bool) -> CountSetup:
    return CountSetup(does="count pages", shared_path=None, frames=frames, max_megapixels=max_megapixels)
