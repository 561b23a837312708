"""Which names in a folder are skipped, and why: leftovers of systems, hidden files, what the user excludes.

Pure functions of names: no file is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from digitscan.errors import UsageError

# What macOS, NAS systems, Windows, Linux desktops, Jupyter, and programs that synchronize folders make. What
# is in such a folder is a thumbnail, a copy, or something that was deleted.
_SYSTEM_FOLDERS = (
    "__MACOSX", ".AppleDouble", ".AppleDB", ".AppleDesktop", ".Trashes", ".Trash", ".Trash-*",
    ".Spotlight-V100", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100", "*.download",
    "@eaDir", "@tmp", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", ".snapshot",
    "$RECYCLE.BIN", "RECYCLER", "System Volume Information",
    ".thumbnails", "lost+found", ".ipynb_checkpoints",
    ".stversions", ".stfolder", ".dropbox.cache", ".sync", ".tmp.drivedownload", ".tmp.driveupload",
)  # fmt: skip
_SYSTEM_FILES = (
    "._*", ".DS_Store", "Icon\r", "Thumbs.db", "ehthumbs.db", "desktop.ini",
    ".syncthing.*", "~syncthing~*", "~$*", ".~lock.*", ".goutputstream-*", ".fuse_hidden*", ".nfs[0-9a-f]*",
)  # fmt: skip
# What a download, a copy or an editor has not finished, or has kept.
_TEMPORARY_SUFFIXES = (b".part", b".partial", b".filepart", b".crdownload", b".download", b".tmp", b"~")
_HIDDEN_MARK = b"."


class FileFilter:
    """Tells which files and folders of a scanned folder are skipped, by their names.

    A pattern is a glob: `*`, `?` and `[abc]` match within a name, `**` any number of folders. Without a slash
    it matches names at any depth, with one the path from the scanned folder; one that ends in a slash matches
    folders. What matches a folder matches all that is in it. Upper and lower case are the same, as in
    suffixes: cameras write `.JPG`.
    """

    def __init__(
        self, include: Sequence[str] = (), exclude: Sequence[str] = (), reads_hidden: bool = False
    ) -> None:
        """Take the patterns of the files to read (if there are any, no others are) and to skip.

        Raises UsageError for what is no pattern.
        """
        self._include = _compile_any(include) if include else None
        self._exclude = _compile_any(exclude) if exclude else None
        self._reads_hidden = reads_hidden

    def find_skip_reason(self, subpath: str, name: bytes, is_folder: bool) -> str | None:
        """Return why a file or folder is skipped, None if it is read.

        `subpath` is the path of the folder that holds it from the scanned folder, "" for that itself.
        """
        if is_folder and _is_system_folder(name):
            return "system folder"
        if not is_folder and name.lower().endswith(_TEMPORARY_SUFFIXES):
            return "temporary file"
        if not is_folder and _is_system_file(name):
            return "system file"
        if name.startswith(_HIDDEN_MARK) and not self._reads_hidden:
            return "hidden folder" if is_folder else "hidden file"
        if self._exclude or self._include:
            return self._find_pattern_reason(subpath, os.fsdecode(name), is_folder)
        return None

    def _find_pattern_reason(self, subpath: str, name: str, is_folder: bool) -> str | None:
        path = f"{subpath}/{name}" if subpath else name
        if is_folder:
            path += "/"
        if self._exclude and self._exclude.fullmatch(path):
            return "excluded folder" if is_folder else "excluded file"
        if self._include and not is_folder and not self._include.fullmatch(path):
            return "not included"
        return None


def is_leftover(path: Path) -> bool:
    """Tell whether a scan skips a file or a folder for its name alone, if no patterns are given."""
    return FileFilter().find_skip_reason("", os.fsencode(path.name), path.is_dir()) is not None


def check_pattern(pattern: str) -> None:
    """Raise UsageError unless this is a pattern of a FileFilter."""
    if not pattern.strip("/"):
        raise UsageError(f"{pattern!r} is an empty pattern: name files as in '*.jpg' or 'drafts/'")
    try:
        re.compile(_translate_pattern(pattern))
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a pattern ({error.msg}): [[] stands for a [ in names") from None


def _compile_any(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return an expression that matches what one of the patterns matches. Raises UsageError."""
    for pattern in patterns:
        check_pattern(pattern)
    return re.compile("|".join(map(_translate_pattern, patterns)), re.IGNORECASE | re.DOTALL)


def _translate_pattern(pattern: str) -> str:
    """Return the regular expression of a pattern, for a whole path; that of a folder ends in a slash."""
    if os.name == "nt":
        pattern = pattern.replace("\\", "/")
    *folders, name = pattern.strip("/").removeprefix("./").split("/")
    is_anchored = bool(folders) or pattern.startswith(("/", "./"))
    start = "" if is_anchored else "(?:.*/)?"
    end = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    steps = ["(?:.*/)?" if folder == "**" else _translate_name(folder) + "/" for folder in folders]
    last = ".*" if name == "**" else _translate_name(name)
    return f"{start}{''.join(steps)}{last}{end}"


def _translate_name(pattern: str) -> str:
    """Return the regular expression of a pattern for one name, in which nothing matches a slash.

    What follows a `*` is tried at its first place alone, unless it ends the name: otherwise a pattern with
    many of them could take hours. `fnmatch` does the same.
    """
    parts = [""]
    for token in re.findall(r"\[!?\]?[^]]*\]|\*+|.", pattern, re.DOTALL):
        if token[0] == "*":
            parts.append("")
        else:
            parts[-1] += _translate_token(token)
    first, *others = parts
    if not others:
        return first
    *middle, last = others
    return f"{first}{''.join(f'(?>[^/]*?{part})' for part in middle)}[^/]*{last}"


def _translate_token(token: str) -> str:
    """Return the expression of one character of a name: `?`, a set such as `[abc]`, or itself."""
    if token == "?":
        return "[^/]"
    negation = "^" if token.startswith("[!") else ""
    members = token[2 if negation else 1 : -1]
    if not members:
        return re.escape(token)
    members = re.sub(r"[\\[&~|^]", r"\\\g<0>", members)
    return f"(?!/)[{negation}{members}]"


def _compile_names(patterns: Iterable[str]) -> Callable[[bytes], object]:
    """Return what tells whether a name is one of some names of systems."""
    expression = "|".join(map(_translate_name, patterns))
    return re.compile(expression.encode(), re.IGNORECASE | re.DOTALL).fullmatch


_is_system_folder = _compile_names(_SYSTEM_FOLDERS)
_is_system_file = _compile_names(_SYSTEM_FILES)
