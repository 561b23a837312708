"""Reading a folder with one subfolder of images for each digit.

The files may come from anybody. They are decoded as in a scan, in processes with limits on time and memory:
a file that hangs or crashes its decoder is left out, and the others are read.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError, DigitscanError
from digitscan.system.resources import count_usable_cores
from digitscan.training.data.datasets import TrainTestData
from digitscan.workers.preprocessor import PreprocessedRow
from digitscan.workers.protocol import FileLocation, WorkerSetup
from digitscan.workers.supervisor import ProcessFactory, Task
from digitscan.workers.worker_pool import WorkerPool

TEST_DIVISOR = 7
"""Of a folder of images, one in seven is a test image, as in MNIST."""
TIMEOUT_SECONDS = 30.0
"""The most time that one image may take, as in a scan."""

_MIN_FILES_FOR_WORKER = 64
"""Another worker takes a quarter of a second to start: it is worth that for so many files."""
_CHUNK_SIZE = 16
"""Files of a task."""


def read_image_folders(folder: Path, on_unusable: Callable[[Path, str], object]) -> TrainTestData:
    """Return the digits of a folder with subfolders `0` to `9` of image files, preprocessed as in a scan.

    Every seventh, chosen at random but the same ones each time, is a test image. `on_unusable` is called with
    the path of each image that has no digit or cannot be read, and the reason. Raises DataError where there
    are too few usable images, and OSError where a folder cannot be read.
    """
    files = list(_list_labelled_files(folder))
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    with (
        contextlib.closing(ProcessFactory()) as process_factory,
        _ImageReader([path for _, path in files], process_factory) as reader,
    ):
        rows = reader.read()
    for (label, path), row in zip(files, rows, strict=True):
        if isinstance(row, str):
            on_unusable(path, row)
        else:
            images.append(row)
            labels.append(label)
    min_images = 2 * TEST_DIVISOR
    if len(images) < min_images:
        raise DataError(
            f"{folder} has too few usable images: {len(images)}, at least {min_images} are needed"
        )
    x, y = np.stack(images), np.array(labels, np.uint8)
    # The same test images each time, so that no teacher was trained on what its student is tested on.
    order = np.random.default_rng(0).permutation(len(x))
    test_count = len(x) // TEST_DIVISOR
    test, train = order[:test_count], order[test_count:]
    return TrainTestData(x[train], y[train], x[test], y[test])


def _list_labelled_files(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the label and path of each file that is not hidden, in an order that is the same everywhere."""
    for digit in range(10):
        subfolder = folder / str(digit)
        if not subfolder.is_dir():
            continue
        for path in sorted(subfolder.iterdir(), key=lambda path: path.name):
            # The reader says why it leaves out what is no file, such as a pipe or a link that leads nowhere.
            if not path.name.startswith(".") and not path.is_dir():
                yield digit, path


class _ImageReader(WorkerPool):
    """Reads image files with worker processes. A context manager: leaving it ends all workers."""

    def __init__(self, paths: Sequence[Path], process_factory: ProcessFactory) -> None:
        """Take the files, and what starts the workers. No worker is started yet."""
        max_workers = min(count_usable_cores(), -(-len(paths) // _MIN_FILES_FOR_WORKER))
        setup = WorkerSetup(does="preprocess images", shared_path=None)
        super().__init__(setup, TIMEOUT_SECONDS, max_workers, process_factory)
        self._paths = paths
        self._rows: dict[int, NDArray[np.uint8] | str] = {}
        indices = range(len(paths))
        self._tasks = deque(
            Task(None, indices[start : start + _CHUNK_SIZE]) for start in indices[::_CHUNK_SIZE]
        )

    def read(self) -> list[NDArray[np.uint8] | str]:
        """Return for each file, in order, its pixels (28, 28), or in words why it has none.

        Raises DataError if no worker can be kept alive.
        """
        try:
            while self._has_work():
                while len(self._workers) < min(self._max_workers, max(1, len(self._tasks))):
                    self._start_worker()
                self._assign_tasks()
                self._wait_for_events()
                self._replace_hanging_workers()
        except DigitscanError as error:
            raise DataError(str(error)) from error
        return [self._rows[index] for index in range(len(self._paths))]

    def _has_work(self) -> bool:
        return len(self._rows) < len(self._paths)

    def _next_task(self) -> Task | None:
        return self._tasks.popleft() if self._tasks else None

    def _list_files(self, task: Task) -> list[FileLocation]:
        return [FileLocation(os.fspath(self._paths[index])) for index in task.positions]

    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        self._rows.update(zip(task.positions, map(_parse_row, rows), strict=True))

    def _set_error(self, task: Task, position: int, reason: str) -> None:
        self._rows[position] = reason


def _parse_row(values: Any) -> NDArray[np.uint8] | str:
    """Return what a worker sent, a PreprocessedRow: pixels (28, 28), or the reason why there are none."""
    try:
        row = PreprocessedRow(*values)
        if row.pixels is None:
            return str(row.reason)
        return np.frombuffer(base64.b64decode(row.pixels), np.uint8).reshape(28, 28)
    except (TypeError, ValueError):  # a picture may have taken over the worker
        return "crashed the decoder: the process that read it gave no answer of ours"
