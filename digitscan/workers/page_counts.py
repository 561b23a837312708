"""Count the pages of files: the task of a worker process that is asked before they are read.

A file of several pages has a row for each, and each page is read as a file of its own: it may fail, or end
its process, alone. So their number must be known first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from digitscan.system.folders import FolderOpener
from digitscan.system.resources import limit_memory
from digitscan.workers.image_processor import (
    BASE_MEMORY_BYTES,
    MEMORY_BYTES_PER_PIXEL,
    ProcessFiles,
    SetCurrent,
)
from digitscan.workers.protocol import CountSetup

if TYPE_CHECKING:
    from digitscan.workers.protocol import FileLocation


def load_page_counter(setup: CountSetup) -> ProcessFiles:
    """Return what counts pages. The memory of this process is limited as that of a worker that reads."""
    from digitscan.imaging.pages import count_pages

    limit_memory(BASE_MEMORY_BYTES + int(MEMORY_BYTES_PER_PIXEL * 1e6 * setup["max_megapixels"]))
    folders = FolderOpener()

    def count_all(files: list[FileLocation], set_current: SetCurrent) -> list[int]:
        counts = []
        for index, file in enumerate(files):
            set_current(index)
            try:
                path, dir_fd = folders.locate(file.path, file.folder)
            except OSError:  # whoever reads it will say why
                counts.append(1)
            else:
                counts.append(count_pages(path, dir_fd, setup["frames"], setup["max_megapixels"]))
        return counts

    return count_all
