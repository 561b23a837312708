"""The files that a training run writes: their names, and whether they can be written, before the training.

What would fail after hours fails here in the first second.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from digitscan.errors import OutputError
from digitscan.model.export import find_unwritable_folders
from digitscan.model.model_files import BUNDLED_MODELS
from digitscan.training.checkpoint import checkpoint_path
from digitscan.training.config import TrainConfig
from digitscan.training.plots import PLOT_NAMES

REQUIRED_BYTES = 32_000_000
"""The most that a run writes: the model, its compiled form, the old and the new checkpoint, the plots."""


def check_not_existing(config: TrainConfig) -> None:
    """Raise OutputError where a file of the run exists and may not be replaced.

    A folder, a pipe or a device in the place of a file is never replaced.
    """
    output = config.output
    _check_replaceable(output, "-o")
    if os.path.lexists(output) and not config.overwrite:
        raise OutputError(f"{output} exists: name another file with -o, or add --overwrite")
    checkpoint = checkpoint_path(output)
    _check_replaceable(checkpoint, "-o")
    if os.path.lexists(checkpoint) and not (config.resume or config.overwrite):
        raise OutputError(
            f"{checkpoint} is the checkpoint of an interrupted run: add --resume to continue that run, "
            "or --overwrite to start again"
        )
    if config.plots is None:
        return
    plots = [config.plots / name for name in PLOT_NAMES]
    for path in (output, checkpoint):
        if path in (config.plots, *plots):
            raise OutputError(f"{path} cannot be written beside the plots: change -o or --plots")
    for plot in plots:
        _check_replaceable(plot, "--plots")
        if os.path.lexists(plot) and not config.overwrite:
            raise OutputError(
                f"{plot} exists: name another folder with --plots, or add --overwrite or --no-plots"
            )


def _check_replaceable(path: Path, option: str) -> None:
    """Raise OutputError where something is in the place of a file that is none, or leads to none."""
    if not path.name or os.path.isdir(path):
        raise OutputError(f"{path} is a folder, and a file would have to be written there: change {option}")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OutputError(f"{path} is a pipe, a device or a broken link: change {option}")


def check_writable(config: TrainConfig) -> None:
    """Raise OutputError where a file of the run could not be written, or its disk is too full.

    The folder of the model is created where it is missing.
    """
    folder = config.output.parent
    # As long as the longest name that is written there, see `Replacement`.
    longest_name = f".{checkpoint_path(config.output).name}.{os.urandom(6).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_name(folder / longest_name)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
    if free_bytes < REQUIRED_BYTES:
        raise OutputError(
            f"{folder} has {free_bytes / 1e6:.0f} MB of free space, and model, checkpoint and plots need up "
            f"to {REQUIRED_BYTES / 1e6:.0f} MB: free some, or choose another place with -o"
        )
    if config.plots is not None:
        _check_plot_folder(config.plots)
    _check_compiled_folder(config.output)
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise OutputError(
            "no folder for temporary files can be written: set TMPDIR to one that can"
        ) from error


def _try_name(path: Path) -> None:
    """Create a file and delete it. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()


def _check_plot_folder(folder: Path) -> None:
    """Raise OutputError where a folder cannot be made or written. None is left behind before its time."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"the folder {folder} for the plots cannot be written: {error.strerror or error}; "
            "choose another one with --plots, or add --no-plots"
        ) from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def choose_output(config: TrainConfig) -> Path:
    """Return where the model is saved: the next free name if somebody put a file there since the start."""
    output = config.output
    if config.overwrite or not os.path.lexists(output):
        return output
    names = (output.with_stem(f"{output.stem}-{number}") for number in itertools.count(2))
    return next(name for name in names if not os.path.lexists(name))


def describe_run(seed: int, seconds: float, data: Path | None, pens: Sequence[Path]) -> dict[str, Any]:
    """Return what a model's metadata say of any run: its seed, its data, how long it took and on what."""
    return {
        "seed": seed,
        "seconds": round(seconds),
        "data": "MNIST" if data is None else data.name,
        **({"pens": ", ".join(path.name for path in pens)} if pens else {}),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }


def log_unwritable_folders(output: Path, log: Callable[[str], object]) -> None:
    """Log which of the user's folders cannot be written; the model is trained and saved all the same."""
    if bundled_compiled_folder(output) is None:
        for problem in find_unwritable_folders():
            log(f"careful: {problem}")


def bundled_compiled_folder(output: Path) -> Path | None:
    """Return the folder for the compiled form of a bundled model, None for any other model.

    The compiled forms of bundled models are kept beside them, those of other models in the user's cache.
    """
    folder = output.parent / "programs"
    return folder if output.stem in BUNDLED_MODELS and folder.is_dir() else None


def _check_compiled_folder(output: Path) -> None:
    """Raise OutputError where the compiled form of a bundled model could not be stored."""
    folder = bundled_compiled_folder(output)
    if folder is None:
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"the compiled model cannot be stored in {folder}: {error.strerror or error}; "
            "make that folder writable"
        ) from error
