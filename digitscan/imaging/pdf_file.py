"""Count the pages of a PDF, and draw one of them, with PDFium: the optional dependency `digitscan[pdf]`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from digitscan.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_POINTS_PER_INCH = 72
_DOTS_PER_INCH = 200
"""Pages are drawn at this resolution, as an office scanner reads them, but for small and large ones."""
_MIN_SHORT_SIDE = 384
_MAX_PIXELS = 4_000_000
"""A4 at 200 dots per inch. Nothing in the reading of one digit gains from more."""


def count_pdf_pages(file: IO[bytes]) -> int:
    """Return the number of pages. Raises ImageError if the file cannot be opened."""
    with _open(file) as document:
        return len(document)


def draw_pdf_page(file: IO[bytes], page: int, max_megapixels: float) -> tuple[PillowImage, int]:
    """Return a page, the first of which is 1, as an RGB picture, and the number of pages.

    The picture has at most `max_megapixels`. Raises ImageError if there is no such page, or PDFium cannot
    draw it.
    """
    with _open(file) as document:
        from pypdfium2 import PdfiumError

        count = len(document)
        if not 1 <= page <= count:
            raise ImageError(f"no page {page}: the PDF has {count}")
        try:
            document.init_forms()  # what is filled in is a part of the page
            sheet = document[page - 1]
            width, height = sheet.get_size()
            scale = _choose_scale(width, height, max_megapixels)
            bitmap = sheet.render(scale=scale, rev_byteorder=True, prefer_bgrx=True)
            return bitmap.to_pil().convert("RGB"), count
        except PdfiumError:
            raise ImageError("damaged PDF: its page cannot be drawn") from None


@contextlib.contextmanager
def _open(file: IO[bytes]) -> Iterator[Any]:
    """Give the document in a file. Raises ImageError."""
    try:
        import pypdfium2
    except ImportError:
        raise ImageError("a PDF needs pypdfium2: pip install 'digitscan[pdf]'") from None
    file.seek(0)
    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ImageError("locked PDF: save it without its password") from None
        raise ImageError("damaged PDF: it cannot be opened") from None
    with contextlib.closing(document):
        if not len(document):
            raise ImageError("damaged PDF: it has no pages")
        yield document


def _choose_scale(width: float, height: float, max_megapixels: float) -> float:
    """Return the pixels for each point of a page of this size, in points. Raises ImageError."""
    if not (width > 0 and height > 0):
        raise ImageError("damaged PDF: its page has no size")
    wanted = max(_DOTS_PER_INCH / _POINTS_PER_INCH, _MIN_SHORT_SIDE / min(width, height))
    max_pixels = min(_MAX_PIXELS, max_megapixels * 1e6)
    # PDFium rounds each side up.
    return float(min(wanted, ((max_pixels / (width * height)) ** 0.5)))
