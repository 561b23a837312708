"""Find and decode the files of a worker's task, whatever is then read in them."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digitscan.errors import ImageError
from digitscan.imaging.formats import MAX_MEGAPIXELS, MAX_PAGES
from digitscan.system.files import describe_os_error
from digitscan.system.folders import FolderOpener
from digitscan.workers.protocol import FileLocation

if TYPE_CHECKING:
    from digitscan.imaging.decoded_image import DecodedImage


@dataclass(frozen=True)
class FileDecoder:
    """Opens and decodes files, and keeps the folder of the last one open for the next."""

    max_megapixels: float = MAX_MEGAPIXELS
    max_pages: int = MAX_PAGES
    _folders: FolderOpener = field(default_factory=FolderOpener)

    def decode(self, file: FileLocation, min_short_side: int) -> DecodedImage:
        """Return the image of a file; `min_short_side` is as in `decode_image`.

        Raises ImageError with a short phrase, also for a page behind the last one that is read.
        """
        from digitscan.imaging.decode import decode_image

        path, dir_fd = self._locate(file)
        if file.page > self.max_pages:
            raise ImageError(self._describe_left_out_pages(path, dir_fd))
        return decode_image(path, self.max_megapixels, min_short_side, dir_fd, file.page)

    def _describe_left_out_pages(self, path: str, dir_fd: int | None) -> str:
        from digitscan.imaging.pages import count_pages

        count = count_pages(path, dir_fd, True, self.max_megapixels)
        return f"too many pages: {count:,} (--max-pages is {self.max_pages:,})"

    def _locate(self, file: FileLocation) -> tuple[str, int | None]:
        """Return the path of a file, and the open folder in which it begins. Raises ImageError."""
        try:
            return self._folders.locate(file.path, file.folder)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                raise ImageError("its folder was replaced by a link or a file") from None
            raise ImageError(describe_os_error(error)) from None
