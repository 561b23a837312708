"""`digitscan review`: write a page on which a person checks and corrects the rows of a scan."""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from digitscan.errors import OutputError
from digitscan.evaluation.result_file import check_result_path, write_result
from digitscan.prediction import Status, path_to_text
from digitscan.review.config import MAX_INLINE_ROWS, ReviewConfig
from digitscan.review.rows import ReviewedRows, read_rows
from digitscan.system.files import describe_os_error
from digitscan.system.log import log

if TYPE_CHECKING:
    from digitscan.model.registry import Model

FILES_SUFFIX = "-files"
SPRITE_NAME = r"\d{5,}\.png"
"""The names of the pictures beside a page, as a pattern."""


def run_review(config: ReviewConfig) -> None:
    """Write the page that the settings describe.

    Raises DataError for a CSV that cannot be used, ModelError, and OutputError where the page exists or
    cannot be written. Pictures beside a page that was not finished are removed.
    """
    from digitscan.model.registry import load_model

    _check_free(config.output, config.overwrite)
    rows = read_rows(config.csv, config.images)
    audit = _draw_audit(rows, config.audit)
    # Of numbers only the pictures are shown, which do not depend on the model.
    model = load_model(None if rows.has_numbers else config.model, log=log)
    folder = _files_folder(config.output) if len(rows.cells) > MAX_INLINE_ROWS else None
    if folder:
        _create_folder(folder)
    try:
        has_picture = _write_page(config, rows, model, audit, folder)
    except BaseException:  # also by Ctrl-C
        if folder:
            _remove_folder(folder)
        raise
    for line in _describe(config, rows, has_picture):
        log(line)


def _write_page(
    config: ReviewConfig, rows: ReviewedRows, model: Model, audit: list[int], folder: Path | None
) -> str:
    """Write the pictures and the page; return for each row whether it has a picture, as in `Sprite`."""
    from tqdm import tqdm

    from digitscan.review.page import render_page
    from digitscan.review.sprites import DIGIT_PLACE, NUMBER_PLACE, make_sprites

    place = NUMBER_PLACE if rows.has_numbers else DIGIT_PLACE
    addresses, flags = [], []
    # None: no bar where stderr is no terminal.
    with tqdm(total=len(rows.pictures), unit=" pictures", disable=None, leave=False) as bar:
        for number, sprite in enumerate(make_sprites(rows.pictures, model, place), 1):
            flags.append(sprite.has_picture)
            addresses.append(_store_sprite(sprite.png, folder, number))
            bar.update(len(sprite.has_picture))
    has_picture = "".join(flags)
    name, _ = path_to_text(os.fsencode(config.csv.name))
    page = render_page(name, rows, addresses, has_picture, audit)
    write_result(config.output, page.encode(), config.overwrite)
    return has_picture


def _store_sprite(png: bytes, folder: Path | None, number: int) -> str:
    """Return the address of a sprite: of a file in the folder, or in the page itself if there is none."""
    from digitscan.review.page import inline_sprite

    if folder is None:
        return inline_sprite(png)
    name = f"{number:05}.png"
    write_result(folder / name, png, overwrite=False)
    return quote(os.fsencode(f"{folder.name}/{name}"))


def _describe(config: ReviewConfig, rows: ReviewedRows, has_picture: str) -> Iterator[str]:
    from digitscan.review.sprites import NO_PICTURE

    column = rows.columns.index("status")
    missing = sum(
        flag == NO_PICTURE and cells[column] != Status.ERROR
        for flag, cells in zip(has_picture, rows.cells, strict=True)
    )
    if missing:
        hint = "are they in that folder?" if config.images else "--images FOLDER says where they are now"
        yield f"{missing:,} of {len(rows.cells):,} pictures are not there, or cannot be read: {hint}"
    if len(rows.ok_indices) < config.audit and not rows.audit_indices:
        yield f"There are only {len(rows.ok_indices):,} ok rows: all of them are in the audit sample."
    yield f"Page: {config.output} (open it in a browser)"


def _draw_audit(rows: ReviewedRows, count: int) -> list[int]:
    """Return the indices of the audit sample: rows drawn earlier, and `ok` rows drawn at random now.

    For the same file they are the same each time.
    """
    drawn = {*rows.audit_indices}
    others = [index for index in rows.ok_indices if index not in drawn]
    sample = random.Random(rows.digest).sample(others, min(count, len(others)))
    return sorted({*drawn, *sample})


def _files_folder(output: Path) -> Path:
    return output.with_name(output.stem + FILES_SUFFIX)


def _check_free(output: Path, overwrite: bool) -> None:
    """Raise OutputError where the page or its folder exists and may not be replaced."""
    check_result_path(output, overwrite)
    folder = _files_folder(output)
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise OutputError(f"{folder} exists already: name another page with -o, or add --overwrite")
    try:
        is_ours = not folder.is_symlink() and folder.is_dir() and not any(map(_is_foreign, folder.iterdir()))
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {describe_os_error(error)}") from error
    if not is_ours:
        raise OutputError(f"{folder} holds more than the pictures of a page: name another page with -o")


def _is_foreign(path: Path) -> bool:
    return re.fullmatch(SPRITE_NAME, path.name) is None


def _create_folder(folder: Path) -> None:
    """Make the folder, or empty one that holds nothing but the pictures of an earlier page."""
    try:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if not _is_foreign(path):
                path.unlink()
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {describe_os_error(error)}") from error


def _remove_folder(folder: Path) -> None:
    """Remove the pictures of a page that was not finished."""
    with contextlib.suppress(OSError, OutputError):
        _create_folder(folder)
        folder.rmdir()
