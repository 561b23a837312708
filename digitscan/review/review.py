"""`digitscan review`: write a page on which a person checks and corrects the rows of a scan."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from digitscan.errors import OutputError
from digitscan.review.config import MAX_INLINE_ROWS, ReviewConfig
from digitscan.review.rows import ReviewedRows, read_rows
from digitscan.system.files import describe_os_error, write_atomic
from digitscan.system.log import log

FILES_SUFFIX = "-files"


def run_review(config: ReviewConfig) -> None:
    """Write the page that the settings describe.

    Raises DataError for a CSV that cannot be used, ModelError, and OutputError where the page exists or
    cannot be written.
    """
    from tqdm import tqdm

    from digitscan.model.registry import load_model
    from digitscan.review.page import render_page
    from digitscan.review.sprites import make_sprites

    _check_free(config.output, config.overwrite)
    rows = read_rows(config.csv, config.images)
    audit = _draw_audit(rows, config.audit)
    model = load_model(config.model, log=log)
    addresses, flags = [], []
    folder = _files_folder(config.output) if len(rows.cells) > MAX_INLINE_ROWS else None
    if folder:
        _create_folder(folder, config.overwrite)
    # None: no bar where stderr is no terminal.
    with tqdm(total=len(rows.paths), unit=" pictures", disable=None, leave=False) as bar:
        for number, sprite in enumerate(make_sprites(rows.paths, model), 1):
            flags.append(sprite.has_picture)
            addresses.append(_store_sprite(sprite.png, folder, number))
            bar.update(len(sprite.has_picture))
    has_picture = "".join(flags)
    page = render_page(config.csv.name, rows, addresses, has_picture, audit)
    _write(config.output, page.encode(), config.overwrite)
    for line in _describe(config, rows, has_picture):
        log(line)


def _store_sprite(png: bytes, folder: Path | None, number: int) -> str:
    """Return the address of a sprite: of a file in the folder, or in the page itself if there is none."""
    from digitscan.review.page import inline_sprite

    if folder is None:
        return inline_sprite(png)
    name = f"{number:05}.png"
    _write(folder / name, png, overwrite=False)
    return quote(f"{folder.name}/{name}")


def _describe(config: ReviewConfig, rows: ReviewedRows, has_picture: str) -> Iterator[str]:
    missing = has_picture.count("0")
    if missing:
        yield (
            f"{missing:,} of {len(rows.cells):,} pictures are not there, or cannot be read: "
            "--images DIR says where they are now"
        )
    if len(rows.ok_indices) < config.audit:
        yield f"There are only {len(rows.ok_indices):,} ok rows: all of them are in the audit sample."
    yield f"Page: {config.output} (open it in a browser; it keeps your corrections until you download them)"


def _draw_audit(rows: ReviewedRows, count: int) -> list[int]:
    """Return the indices of `ok` rows drawn at random: the same ones each time for the same file."""
    count = min(count, len(rows.ok_indices))
    return sorted(random.Random(rows.digest).sample(rows.ok_indices, count))  # a sample, no secret


def _files_folder(output: Path) -> Path:
    return output.with_name(output.stem + FILES_SUFFIX)


def _check_free(output: Path, overwrite: bool) -> None:
    """Raise OutputError where the page or its folder exists and may not be replaced."""
    for path in (output, _files_folder(output)):
        if not overwrite and os.path.lexists(path):
            raise OutputError(f"{path} exists already: name another page with -o, or add --overwrite")


def _create_folder(folder: Path, overwrite: bool) -> None:
    try:
        if overwrite and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {describe_os_error(error)}") from error


def _write(path: Path, data: bytes, overwrite: bool) -> None:
    try:
        write_atomic(path, data, partial(_check_replaceable, path, overwrite))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {describe_os_error(error)}") from error


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"{path} exists already: name another page with -o, or add --overwrite")
