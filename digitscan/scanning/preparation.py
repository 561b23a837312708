"""Prepare the output of a scan: check that rows may go there, and write the manifest before the first row."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import OutputError
from digitscan.imaging.version import LINE_PREPROCESS_VERSION, PREPROCESS_VERSION
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.discovery import list_roots
from digitscan.scanning.edited_output import restore_format
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.csv_format import CsvFormat
from digitscan.scanning.output.manifest import (
    MAX_STORED_PATHS,
    ScanManifest,
    StoredScan,
    check_can_start,
    check_manifest,
    start_output,
)
from digitscan.scanning.output.sink import OutputSink
from digitscan.system.log import log
from digitscan.version import __version__

if TYPE_CHECKING:
    from digitscan.model.registry import Model


def create_manifest(
    paths: Sequence[Path], model: Model, config: ScanConfig, output_config: OutputConfig
) -> ScanManifest:
    """Return what the rows of a scan depend on."""
    csv_format = CsvFormat(
        config.probabilities,
        output_config.raw,
        output_config.excel,
        config.numbers,
        config.digit_confidence,
    )
    is_list = len(paths) > MAX_STORED_PATHS
    return ScanManifest(
        digitscan=__version__,
        started=time.time(),
        roots=() if is_list else list_roots(paths),
        targets=() if is_list else tuple(_resolve(path) for path in paths),
        path_list=_digest_paths(paths) if is_list else None,
        current_folder=_resolve(Path()) if is_list else None,
        model=model.digest,
        fast_model=model.fast_model.digest if model.fast_model else None,
        digit_model=model.digit_model.digest if model.digit_model else None,
        preprocess_version=LINE_PREPROCESS_VERSION if config.numbers else PREPROCESS_VERSION,
        input_maximum=model.metadata.input_range.maximum,
        input_inverted=model.metadata.input_range.is_inverted,
        min_confidence=config.min_confidence,
        is_calibrated=model.metadata.ok_confidence is not None,
        calibration=model.calibration.describe_parameters() if model.calibration else None,
        max_megapixels=config.max_megapixels,
        max_pages=config.max_pages,
        frames=config.frames,
        include=config.include,
        exclude=config.exclude,
        hidden=config.hidden,
        numbers=config.numbers,
        length=None if config.length is None else str(config.length),
        check=config.check,
        columns=csv_format.columns,
        raw=csv_format.raw,
        excel=csv_format.excel,
    )


def _digest_paths(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path.as_posix()) + b"\0")
    return digest.hexdigest()


def _resolve(path: Path) -> str:
    """Return the real path; the path itself if it begins in a current folder that was deleted."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.fspath(path)


def check_can_continue(sink: OutputSink, manifest: ScanManifest, output_config: OutputConfig) -> None:
    """Raise OutputError if the rows to be continued are missing or were made with other settings."""
    if sink.appending and sink.path:
        check_manifest(sink.path, manifest, output_config.update)
    elif output_config.retry_errors and not output_config.update:
        raise OutputError(f"{sink.description} holds no rows yet: there is nothing to read again")
    elif sink.path and not sink.takes_free_name:
        check_can_start(sink.path, manifest, output_config.overwrite, output_config.continues)


def open_output(sink: OutputSink, manifest: ScanManifest, output_config: OutputConfig) -> StoredScan | None:
    """Open the output, and start it or find out about the scan that is continued. Raises OutputError.

    A new file gets its manifest before its first row. Streams have none. Returns what is known of the scan
    that is continued, None if none is.
    """
    sink.open()
    if sink.path is None:
        return None
    if sink.appending:
        # Again, now that the lock keeps others from writing.
        return check_manifest(sink.path, manifest, output_config.update)
    try:
        with contextlib.ExitStack() as stack:
            if not (sink.is_new or sink.is_unchanged):
                backup = stack.enter_context(sink.keep_backup())
                log(f"{sink.path} may have been edited since it was written: it is kept as {backup}")
            with sink.translate_os_errors():
                start_output(sink.path, sink.file, manifest)
    except BaseException:
        sink.remove_if_new()
        raise
    return None


def prepare_to_continue(
    sink: OutputSink, manifest: ScanManifest, stored: StoredScan, paths: Sequence[Path]
) -> None:
    """Bring an output that is continued to a state to which rows can be added. Raises OutputError."""
    assert sink.path is not None
    restore_format(sink, manifest.csv_format, list_roots(paths), stored.has_other_roots)
    if stored.moved_from:
        log(f"The images were in {stored.moved_from}: {sink.path} goes on with those of the same names.")
    if stored.moved_from or not sink.has_state:
        sink.replace_manifest(dataclasses.replace(manifest, started=stored.started))
