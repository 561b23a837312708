"""Open folders below a root one step at a time, so that no link is followed and no path is too long."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

from digitscan.prediction import Folder

HAS_DIR_FD = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
"""Whether files can be opened by the descriptor of their folder. Not on Windows."""

_MAX_OPEN_FOLDERS = 16
_LIST_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# With O_PATH a folder is only a place to open files in: permission to list it is not needed, and a network
# file system is not asked to open it.
_LOCATE_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class FolderOpener:
    """Opens folders below roots, and keeps the last one open with some of those that it is in.

    - Each step opens one name in the folder before, so the system's limit on the length of a path is not met.
    - A step does not follow a link: a folder that was swapped for a link after it was listed leads nowhere.
    - The next folder is opened from the nearest one that is still open: in the order of a walk, that is one
      step for nearly every folder, however deep it is.

    One thread may use it. On Windows folders are opened by their paths.
    """

    def __init__(self, lists: bool = False) -> None:
        """Open nothing yet. `lists` says whether the folders are to be listed."""
        self._flags = _LIST_FLAGS if lists else _LOCATE_FLAGS
        self._root: str | None = None
        self._folder: Folder | None = None
        self._names: list[str] = []
        # The descriptors of the last steps: of `_names`, and before them of the root, if they are few.
        self._descriptors: deque[int] = deque()

    def locate(self, name: str, folder: Folder | None) -> tuple[str, int | None]:
        """Return the path and the `dir_fd` with which a file of a folder is opened.

        The descriptor is valid until the next call. Raises OSError if the folder cannot be opened.
        """
        if folder is None:
            return name, None
        if not HAS_DIR_FD:
            return join_path(folder, name), None
        return name, self._open(folder)

    def scan(self, folder: Folder) -> Iterator[os.DirEntry[str]]:
        """Yield what a folder holds, with an opener that `lists`. Raises OSError, perhaps in the middle."""
        with os.scandir(self._open(folder) if HAS_DIR_FD else join_path(folder, "")) as entries:
            yield from entries

    def stat(self, folder: Folder) -> os.stat_result:
        """Return the status of a folder. Raises OSError."""
        return os.stat(self._open(folder) if HAS_DIR_FD else join_path(folder, ""))  # noqa: PTH116

    def close(self) -> None:
        """Close all folders. More may be opened later."""
        self._root = self._folder = None
        self._names.clear()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _open(self, folder: Folder) -> int:
        if folder != self._folder:
            names = folder.subpath.split("/") if folder.subpath else []
            self._return_to_common(folder, names)
            # If a step fails, the folders before it stay open.
            self._folder = None
            for name in names[len(self._names) :]:
                self._step(name)
            self._folder = folder
        return self._descriptors[-1]

    def _return_to_common(self, folder: Folder, names: list[str]) -> None:
        """Close the folders that are not on the way to the next one; open its root if none is left."""
        if self._root == folder.root:
            common = min(len(names), len(self._names))
            while names[:common] != self._names[:common]:  # in a walk's order, few times for each folder
                common -= 1
            for _ in range(min(len(self._names) - common, len(self._descriptors))):
                os.close(self._descriptors.pop())
            del self._names[common:]
        if self._root != folder.root or not self._descriptors:
            self.close()
            self._descriptors.append(os.open(folder.root, self._flags))
            self._root = folder.root

    def _step(self, name: str) -> None:
        self._descriptors.append(os.open(name, self._flags | _NO_FOLLOW, dir_fd=self._descriptors[-1]))
        self._names.append(name)
        if len(self._descriptors) > _MAX_OPEN_FOLDERS:
            os.close(self._descriptors.popleft())


def join_path(folder: Folder, name: str) -> str:
    """Return the path of a file in a folder; it may be too long to be opened."""
    return os.path.join(folder.root, folder.subpath, name)  # noqa: PTH118  # workers do not load pathlib
