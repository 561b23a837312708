"""`digitscan show`: explain single images, in the terminal or as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import ExitCode, OutputError, UsageError
from digitscan.evaluation.console import create_console
from digitscan.evaluation.result_file import check_result_path, write_result
from digitscan.prediction import Status, name_to_path
from digitscan.review.config import ShowConfig
from digitscan.review.explanation import Explanation, explain_images
from digitscan.system.files import describe_os_error
from digitscan.system.log import log
from digitscan.workers.page_counter import list_pages
from digitscan.workers.protocol import FileLocation

if TYPE_CHECKING:
    from rich.console import Console

IMAGES_AT_A_TIME = 100
"""So many are explained before the first is printed: their pictures are kept in memory."""


def run_show(config: ShowConfig, console: Console | None = None) -> ExitCode:
    """Explain the images; return OK, or UNREADABLE_FILES if some of them could not be read.

    Prints to `console`, by default one on stdout, or writes the picture that the settings name. Raises
    UsageError for a path that is no file, ModelError, and OutputError where the picture exists or cannot be
    written.
    """
    from digitscan.model.registry import load_model

    files = _find_images(config.images)
    if config.output:
        check_result_path(config.output, config.overwrite)
    model = load_model(
        config.model,
        input_range=config.input_range,
        sha256=config.model_sha256,
        numbers=config.numbers,
        log=log,
    )
    rules = config.number_rules if config.numbers else None
    explain = partial(explain_images, model=model, min_confidence=config.min_confidence, rules=rules)
    if config.output:
        explanations = explain(files)
        _write_figure(explanations, config.output, config.overwrite)
        return _exit_code(explanations)
    console = console or create_console()
    codes = []
    for start in range(0, len(files), IMAGES_AT_A_TIME):
        explanations = explain(files[start : start + IMAGES_AT_A_TIME])
        _print_all(explanations, console)
        codes.append(_exit_code(explanations))
    return max(codes)


def _find_images(images: Sequence[Path]) -> list[FileLocation]:
    """Return the pages of the files. Raises UsageError for the first path that is no file."""
    if not images:
        raise UsageError("no image was named: give the path of one")
    files = []
    for image in images:
        path, page = _split_page(image)
        try:
            path.stat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else describe_os_error(error)
            raise UsageError(f"{str(image)!r}: {reason}. Give the path of an image.") from None
        if path.is_dir():
            raise UsageError(
                f"{str(image)!r} is a folder: name images in it, or read all with digitscan scan"
            )
        files.append(FileLocation(os.fspath(path), page=page))
    return [page for pages in list_pages(files) for page in pages]


def _split_page(image: Path) -> tuple[Path, int]:
    """Return the path and the page of what may be the name of a file, or that of a page in a scan's CSV."""
    if os.path.lexists(image):
        return image, 0
    path, page = name_to_path(os.fspath(image), is_utf8=True)
    return Path(os.fsdecode(path)), page


def _write_figure(explanations: list[Explanation], output: Path, overwrite: bool) -> None:
    from digitscan.evaluation.figures import DrawingError, draw_in_own_process
    from digitscan.review.figure import draw_explanations

    try:
        png = draw_in_own_process(draw_explanations, explanations)
    except DrawingError as error:
        raise OutputError(f"{output} cannot be drawn: {error}") from error
    write_result(output, png, overwrite)
    log(f"Picture: {output}")


def _print_all(explanations: list[Explanation], console: Console) -> None:
    from digitscan.review.terminal import print_explanation

    for explanation in explanations:
        print_explanation(explanation, console)


def _exit_code(explanations: list[Explanation]) -> ExitCode:
    has_failures = any(each.prediction.status is Status.ERROR for each in explanations)
    return ExitCode.UNREADABLE_FILES if has_failures else ExitCode.OK
