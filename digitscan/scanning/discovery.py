"""Find the image files among the paths given, one folder at a time and in one stable order.

The scan's own process runs this, so it uses the standard library only: numpy and the image libraries would
delay the start. It lists folders, but opens no file and follows no link: either may block for ever.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from digitscan.errors import UsageError
from digitscan.imaging.formats import has_image_suffix
from digitscan.prediction import NOT_UTF8, Folder, ImageFile, path_to_name, path_to_text
from digitscan.system.file_filter import FileFilter
from digitscan.system.files import describe_os_error
from digitscan.system.folders import FolderOpener
from digitscan.workers.file_kinds import FileKind
from digitscan.workers.protocol import FileLocation

if TYPE_CHECKING:
    from pathlib import Path

_SORTED_RUN_LENGTH = 16_384
_FILES_PER_DETECTION = 512
_LINK = b"\0"
"""Stands after the name of a link. It changes no order, and no name holds it."""
_SKIP_REASONS = {FileKind.OTHER: "no image", FileKind.FOLDER: "link to a folder"}
_SPECIAL_FILE = "pipe, socket or device"
_FOLDER_ITSELF = b""
"""Stands for the name of a file where the folder itself is meant."""

DetectKinds = Callable[[Sequence[FileLocation]], Sequence[FileKind]]
"""Tells what files are by their first bytes, see `KindDetector`."""
FolderId = tuple[int, int]
"""The device and the inode of a folder, the same by whatever path it is reached."""
NamesByFolder = dict[FolderId | None, set[bytes]]
"""Names of files by their folder; `_FOLDER_ITSELF` is one of them if the folder is meant too."""


@dataclass
class WalkStats:
    """What a walk has met so far; it grows while `find_images` is consumed."""

    images: int = 0
    """Files that get a row."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Everything else, counted by the reason. A folder that is not entered counts as one."""
    report_skipped: Callable[[str, str], object] | None = None
    """Called with the path and the reason of all that is skipped."""
    unreadable_folders: list[str] = field(default_factory=list)
    """Folders whose names could not be listed, or not to the end."""

    def skip(self, folder: bytes, names: Iterable[bytes], reason: str) -> None:
        """Count files of a folder, with whose path their names are shown, and report them."""
        for name in names:
            self.skipped[reason] += 1
            if self.report_skipped:
                self.report_skipped(path_to_text(folder + name.rstrip(_LINK))[0], reason)


def check_paths(paths: Sequence[Path]) -> None:
    """Raise UsageError for the first path that does not exist. A dead link exists: it gets a row."""
    for path in paths:
        try:
            path.lstat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else describe_os_error(error)
            raise UsageError(
                f"{str(path)!r}: {reason}. Give the path of a folder or an image that exists."
            ) from None


def is_one_folder(paths: Sequence[Path]) -> bool:
    """Return whether the paths are a single folder: then rows show names without that folder."""
    return len(paths) == 1 and os.path.isdir(paths[0])


def list_roots(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the paths as rows begin with them; none for a single folder, which rows do not show."""
    return () if is_one_folder(paths) else tuple(path.as_posix() for path in paths)


def drop_repeated(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those that name a file or folder of an earlier one.

    Two links to a file are two names, and each has its row.
    """
    seen: NamesByFolder = {}
    unique = []
    for path, folder_id, name in _locate(paths):
        names = seen.setdefault(folder_id, set())
        if name not in names:
            names.add(name)
            unique.append(path)
    return unique


def find_images(
    paths: Sequence[Path],
    stats: WalkStats,
    detect_kinds: DetectKinds,
    own_files: Collection[Path] = (),
    file_filter: FileFilter | None = None,
) -> Iterator[ImageFile]:
    """Yield the files that get a row, with the names of one folder in memory at a time.

    A path that is given and is no folder always gets a row. In a folder, a file gets one if its suffix or its
    first bytes are an image's, or if it cannot be read; everything else is counted in `stats`, and so is what
    `file_filter` skips. The order is that of the paths given; in a folder files come before subfolders, both
    sorted by the bytes of their names. Links to folders are not followed, so a link cannot make the walk
    endless. `own_files`, our own outputs, are left out.

    No file has two rows: where a folder holds another one of the paths, that is left to its own turn. The
    paths themselves must be without repeats, see `drop_repeated`.

    `detect_kinds` is asked about links and about files without an image's suffix.
    """
    own_names = _names_by_folder(own_files)
    # The names alone, because asking for the folder of each file in a list takes time.
    all_own_names = set().union(*own_names.values())
    for found in _walk_paths(paths, file_filter or FileFilter()):
        if not isinstance(found, _FoundFolder):
            if os.fsencode(found.name) in all_own_names:
                (_, folder_id, name) = next(_locate([found]))
                if name in own_names.get(folder_id, ()):
                    continue
            stats.images += 1
            yield _image_file(os.fspath(found), os.fsencode(found.as_posix()), None)
            continue
        folder, listing, shown = found.folder, found.listing, found.shown
        if not listing.is_complete:
            stats.unreadable_folders.append(path_to_text(shown or b"./")[0])
        for reason, names in sorted(listing.skipped.items()):
            stats.skip(shown, names, reason)
        excluded = own_names.get(listing.folder_id, set()) | found.given_names
        for file in _select_images(folder, listing.names, excluded, detect_kinds, stats, shown):
            stats.images += 1
            yield _image_file(os.fsdecode(file), shown + file, folder)


def count_images(paths: Sequence[Path], file_filter: FileFilter | None = None) -> int:
    """Estimate how many files `find_images` will yield, by suffix alone: quick, for the progress bar."""
    count = 0
    for found in _walk_paths(paths, file_filter or FileFilter()):
        if isinstance(found, _FoundFolder):
            names = (name.rstrip(_LINK) for name in found.listing.names)
            count += sum(has_image_suffix(name) and name not in found.given_names for name in names)
        else:
            count += 1
    return count


def encode_root(path: Path) -> bytes:
    """Return how the names in a folder begin, without the slash; empty for the root of the system."""
    return os.fsencode(path.as_posix()).rstrip(b"/")


def _names_by_folder(files: Collection[Path]) -> NamesByFolder:
    """Return the names of some files, and of what links among them lead to, by their folder."""
    names: NamesByFolder = {}
    for file in files:
        with contextlib.suppress(OSError):  # a folder that does not exist, or a current folder that is gone
            for path in (os.fspath(file), os.path.realpath(file)):
                folder, name = os.path.split(path)
                names.setdefault(_folder_id(os.stat(folder or ".")), set()).add(os.fsencode(name))  # noqa: PTH116
    return names


def _folder_id(status: os.stat_result) -> FolderId:
    return status.st_dev, status.st_ino


def _group_by_folder(paths: Iterable[Path]) -> NamesByFolder:
    """Return the names of the paths by their folders."""
    names: NamesByFolder = {}
    for _, folder_id, name in _locate(paths):
        names.setdefault(folder_id, set()).add(name)
    return names


def _locate(paths: Iterable[Path]) -> Iterator[tuple[Path, FolderId | None, bytes]]:
    """Yield each path with the id of its folder and its name, or a folder with its own id and no name.

    Of a folder that cannot be found there is no id, and the name is the whole path.
    """
    ids: dict[str, FolderId | None] = {}  # a list of files names the same few folders
    for path in paths:
        text = os.fspath(path)
        folder, name = (text, "") if os.path.isdir(path) else os.path.split(text)
        if folder not in ids:
            ids[folder] = None
            with contextlib.suppress(OSError):
                ids[folder] = _folder_id(os.stat(folder or "."))  # noqa: PTH116
        yield path, ids[folder], os.fsencode(text if ids[folder] is None else name)


def _select_images(
    folder: Folder,
    names: _SortedNames,
    excluded: Collection[bytes],
    detect_kinds: DetectKinds,
    stats: WalkStats,
    shown: bytes,
) -> Iterator[bytes]:
    """Yield the names in a folder that get a row, in order; count the others. `shown` is its path."""
    rest = iter(names)
    while batch := list(islice(rest, _FILES_PER_DETECTION)):
        if excluded:
            batch = [name for name in batch if name.rstrip(_LINK) not in excluded]
        unknown = [name for name in batch if not has_image_suffix(name)]  # so is each link, by its mark
        if not unknown:
            yield from batch
            continue
        locations = [FileLocation(os.fsdecode(name.rstrip(_LINK)), folder) for name in unknown]
        kinds = dict(zip(unknown, detect_kinds(locations), strict=True))
        for name in batch:
            if reason := _SKIP_REASONS.get(kinds.get(name, FileKind.IMAGE)):
                stats.skip(shown, [name], reason)
            else:
                yield name.rstrip(_LINK)


@dataclass
class _FoundFolder:
    """A folder that a walk has come to, and what it holds."""

    folder: Folder
    listing: _Listing
    shown: bytes
    """Its path as rows show it, which ends in a slash; empty for a single folder that was given."""
    given_names: set[bytes]
    """The names in it that are among the paths given."""


def _walk_paths(paths: Sequence[Path], file_filter: FileFilter) -> Iterator[Path | _FoundFolder]:
    """Yield each path that is no folder and, for a folder, itself and all folders below it."""
    is_single = is_one_folder(paths)
    given = {} if is_single or not any(map(os.path.isdir, paths)) else _group_by_folder(paths)
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        prefix = b"" if is_single else encode_root(path) + b"/"
        for folder, listing in _walk(os.fspath(path), file_filter, given):
            shown = prefix + os.fsencode(folder.subpath) + b"/" if folder.subpath else prefix
            yield _FoundFolder(folder, listing, shown, given.get(listing.folder_id, set()))


def _walk(root: str, file_filter: FileFilter, given: NamesByFolder) -> Iterator[tuple[Folder, _Listing]]:
    """Yield each folder below a root, and itself first, with what it holds: parents before subfolders.

    Folders below it that are among the paths given are left out, with their subfolders.
    """
    opener = FolderOpener(lists=True)
    names: list[str] = []
    pending: list[tuple[int, bytes]] = []  # with the depth of the folder that holds it
    folder = Folder(root)
    try:
        while True:
            listing = _list_folder(opener, folder, file_filter)
            if not folder.subpath or _FOLDER_ITSELF not in given.get(listing.folder_id, ()):
                yield folder, listing
                pending.extend((len(names), name) for name in sorted(listing.subfolders, reverse=True))
            if not pending:
                return
            depth, name = pending.pop()
            names[depth:] = [os.fsdecode(name)]
            folder = Folder(root, "/".join(names))
    finally:
        opener.close()


class _SortedNames:
    """The names of one folder, in order, in a fifth of the memory of a list.

    300,000 names take 17 MB as a list and 3 MB here, as sorted runs of joined bytes. The peak memory of a
    scan, some 90 MB, must not grow by more than a tenth from 10,000 files to 300,000.
    """

    def __init__(self) -> None:
        self._runs: list[bytes] = []
        self._names: list[bytes] = []

    def append(self, name: bytes) -> None:
        self._names.append(name)
        if len(self._names) == _SORTED_RUN_LENGTH:
            self._names.sort()
            self._runs.append(b"/".join(self._names))  # no name holds a slash
            self._names = []

    def __iter__(self) -> Iterator[bytes]:
        self._names.sort()
        if not self._runs:
            return iter(self._names)
        return heapq.merge(*map(_split_lazily, self._runs), self._names)


def _split_lazily(run: bytes) -> Iterator[bytes]:
    """Yield what `run.split(b"/")` returns, without the list."""
    start = 0
    while start < len(run):
        end = run.find(b"/", start)
        end = len(run) if end < 0 else end
        yield run[start:end]
        start = end + 1


@dataclass
class _Listing:
    """What a folder holds."""

    names: _SortedNames = field(default_factory=_SortedNames)
    """The names of the files and, with `_LINK` behind them, of the links."""
    subfolders: list[bytes] = field(default_factory=list)
    skipped: dict[str, _SortedNames] = field(default_factory=dict)
    """The names of what is neither, or is left out, by the reason."""
    folder_id: FolderId | None = None
    is_complete: bool = False
    """Whether the folder was read to the end."""


def _list_folder(opener: FolderOpener, folder: Folder, file_filter: FileFilter) -> _Listing:
    """List a folder, as far as the system lets us."""
    listing = _Listing()
    with contextlib.suppress(OSError):
        listing.folder_id = _folder_id(opener.stat(folder))
        for entry in opener.scan(folder):
            name = os.fsencode(entry.name)
            is_file = entry.is_file(follow_symlinks=False)
            is_folder = not is_file and entry.is_dir(follow_symlinks=False)
            if reason := file_filter.find_skip_reason(folder.subpath, name, is_folder):
                listing.skipped.setdefault(reason, _SortedNames()).append(name)
            elif is_file:
                listing.names.append(name)
            elif is_folder:
                listing.subfolders.append(name)
            elif entry.is_symlink():
                listing.names.append(name + _LINK)
            else:
                listing.skipped.setdefault(_SPECIAL_FILE, _SortedNames()).append(name)
        listing.is_complete = True
    return listing


def _image_file(path: str, name: bytes, folder: Folder | None) -> ImageFile:
    text, is_utf8 = path_to_name(name)
    return ImageFile(path, text, () if is_utf8 else (NOT_UTF8,), folder)
