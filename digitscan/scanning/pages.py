"""Turn files into pages: what has several gets a row for each, and each is read as a file of its own.

So a page that crashes its decoder costs its own row, a scan that was interrupted goes on with the next page,
and the pages of one file are shared among the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice

from digitscan.imaging.formats import may_have_pages
from digitscan.prediction import ImageFile, add_page
from digitscan.scanning.config import Frames, ScanConfig
from digitscan.workers.page_counter import PageCounter
from digitscan.workers.supervisor import ProcessFactory

_FILES_PER_COUNT = 64


def find_pages(
    files: Iterable[ImageFile], config: ScanConfig, process_factory: ProcessFactory
) -> Generator[ImageFile, None, None]:
    """Yield the files in order, with each page of those that have several in the place of the file.

    A file of more pages than `config.max_pages` has one more, whose row says how many are left out. Raises
    DigitscanError if no worker can be kept alive.
    """
    frames = config.frames is Frames.ALL
    with PageCounter(process_factory, config.timeout, config.max_megapixels, frames) as counter:
        yield from expand_pages(files, counter.ask, config.max_pages, frames)


def expand_pages(
    files: Iterable[ImageFile],
    count_pages: Callable[[Sequence[ImageFile]], Sequence[int]],
    max_pages: int,
    frames: bool = False,
) -> Iterator[ImageFile]:
    """Yield what `find_pages` does. Files that have one page by their suffix are not counted."""
    rest = iter(files)
    while batch := list(islice(rest, _FILES_PER_COUNT)):
        asked = [file for file in batch if not file.page and (frames or may_have_pages(file.path))]
        if not asked:
            yield from batch
            continue
        counts = dict(zip(map(id, asked), count_pages(asked), strict=True))
        for file in batch:
            count = counts.get(id(file), 1)
            if count == 1:
                yield file
            for page in range(file.first_page, min(count, max_pages + 1) + 1) if count > 1 else ():
                yield file._replace(name=add_page(file.name, page), page=page, first_page=1)
