"""Reading a folder with one subfolder of images for each digit.

The files may come from anybody. They are decoded as in a scan, in processes with limits on time and memory:
a file that hangs or crashes its decoder is left out, and the others are read.
"""

from __future__ import annotations

import base64
import contextlib
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError
from digitscan.system.child_python import python_command
from digitscan.system.resources import count_usable_cores
from digitscan.training.data.datasets import TrainTestData
from digitscan.workers.preprocess_worker import PreprocessedRow
from digitscan.workers.protocol import FileLocation
from digitscan.workers.supervisor import Event, ProcessFactory, Task, Worker

TEST_DIVISOR = 7
"""Of a folder of images, one in seven is a test image, as in MNIST."""
TIMEOUT_SECONDS = 30.0
"""The most time that one image may take, as in a scan."""

_MIN_FILES_FOR_WORKER = 64
"""Another worker takes a quarter of a second to start: it is worth that for so many files."""
_CHUNK_SIZE = 16
"""Files of a task."""
_QUEUED_TASKS_PER_WORKER = 2
_START_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.1
_MAX_IDLE_DEATHS = 5
"""Workers that end in a row with no file to blame, before the training gives up."""


def read_image_folders(folder: Path, on_unusable: Callable[[Path, str], object]) -> TrainTestData:
    """Return the digits of a folder with subfolders `0` to `9` of image files, preprocessed as in a scan.

    Every seventh, chosen at random but the same ones each time, is a test image. `on_unusable` is called with
    the path of each image that has no digit or cannot be read, and the reason. Raises DataError where there
    are too few usable images, and OSError where a folder cannot be read.
    """
    files = list(_list_labelled_files(folder))
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    with _ImageReader([path for _, path in files]) as reader:
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
            if not path.name.startswith(".") and path.is_file():
                yield digit, path


class _ImageReader:
    """Reads image files with worker processes. A context manager: leaving it ends all workers."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the files. No worker is started yet."""
        self._paths = paths
        self._rows: dict[int, NDArray[np.uint8] | str] = {}
        indices = range(len(paths))
        self._tasks = deque(
            Task(None, indices[start : start + _CHUNK_SIZE]) for start in indices[::_CHUNK_SIZE]
        )
        command = python_command("digitscan.workers.preprocess_worker", "run_preprocess_worker")
        self._process_factory = ProcessFactory(command)
        self._max_workers = min(count_usable_cores(), -(-len(paths) // _MIN_FILES_FOR_WORKER))
        self._workers: list[Worker] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._idle_deaths = 0

    def __enter__(self) -> _ImageReader:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:  # all are killed first, because each takes its time to end
            worker.wait()
        self._process_factory.close()

    def read(self) -> list[NDArray[np.uint8] | str]:
        """Return for each file, in order, its pixels (28, 28), or in words why it has none.

        Raises DataError if no worker can be kept alive.
        """
        while len(self._rows) < len(self._paths):
            self._start_workers()
            self._assign_tasks()
            self._wait_for_events()
            for worker in list(self._workers):
                is_reading = worker.current_file()[0] is not None
                timeout = TIMEOUT_SECONDS if is_reading else _START_TIMEOUT_SECONDS
                if worker.seconds_on_current_file() > timeout:
                    self._replace(worker, timed_out=is_reading)
        return [self._rows[index] for index in range(len(self._paths))]

    def _start_workers(self) -> None:
        while len(self._workers) < min(self._max_workers, max(1, len(self._tasks))):
            try:
                self._workers.append(Worker(self._process_factory, {}, self._events))
            except OSError as error:
                if not self._workers:
                    raise DataError(
                        f"no process to read the images can be started: {error}; free some memory, processes "
                        "or open files, then try again"
                    ) from error
                self._max_workers = len(self._workers)

    def _assign_tasks(self) -> None:
        for queued in range(_QUEUED_TASKS_PER_WORKER):
            for worker in self._workers:
                if self._tasks and len(worker.tasks) <= queued:
                    task = self._tasks.popleft()
                    files = [FileLocation(os.fspath(self._paths[index])) for index in task.positions]
                    worker.assign(task, files)

    def _wait_for_events(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._handle(self._events.get(timeout=_POLL_SECONDS))
            while True:
                self._handle(self._events.get_nowait())

    def _handle(self, event: Event) -> None:
        worker, frame = event.worker, event.frame
        if worker not in self._workers:  # it was replaced
            return
        if frame is None:
            self._replace(worker, timed_out=False)
        elif "ready" in frame:
            worker.is_ready = True
        else:
            task = worker.tasks.pop(frame["serial"])
            self._rows.update(zip(task.positions, map(_parse_row, frame["rows"]), strict=True))
            self._idle_deaths = 0

    def _replace(self, worker: Worker, timed_out: bool) -> None:
        """End a worker that hangs or has died, and decide about its tasks; another one is started later."""
        worker.kill()
        worker.wait()
        self._workers.remove(worker)
        current_task, position = worker.current_file()
        self._idle_deaths += current_task is None
        if self._idle_deaths > _MAX_IDLE_DEATHS:
            raise DataError(
                "the processes that read the images end as soon as they start: free some memory, or install "
                "digitscan again"
            )
        for task in worker.tasks.values():
            if task is current_task:
                self._split_failed_task(task, task.positions[position], timed_out)
            else:
                self._tasks.appendleft(task)

    def _split_failed_task(self, task: Task, suspect: int, timed_out: bool) -> None:
        """Have the files of a failed task read again; the one that was read may get its reason instead."""
        others = [index for index in task.positions if index != suspect]
        if others:
            self._tasks.appendleft(Task(None, others))
        if timed_out:
            self._rows[suspect] = f"timed out: more than {TIMEOUT_SECONDS:g} seconds"
        elif task.is_retry:
            self._rows[suspect] = "crashed the decoder: the process that read it ended"
        else:
            # The worker may have been killed from outside: the file gets a second chance, alone.
            self._tasks.appendleft(Task(None, [suspect], is_retry=True))


def _parse_row(values: Any) -> NDArray[np.uint8] | str:
    """Return what a worker sent, a PreprocessedRow: pixels (28, 28), or the reason why there are none."""
    try:
        row = PreprocessedRow(*values)
        if row.pixels is None:
            return str(row.reason)
        return np.frombuffer(base64.b64decode(row.pixels), np.uint8).reshape(28, 28)
    except (TypeError, ValueError):  # a picture may have taken over the worker
        return "crashed the decoder: the process that read it gave no answer of ours"
