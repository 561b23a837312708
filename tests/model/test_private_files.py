"""Files that only this user can have written, and the folders that they are in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from digitscan.errors import ModelError
from digitscan.model import private_files
from digitscan.model.private_files import (
    read_private_file,
    user_cache_folder,
    user_data_folder,
    write_private_file,
)


def raise_without_home(name: str, **options: object) -> str:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("answer", [raise_without_home, lambda name, **options: f"~/.local/{name}"])
def test_a_user_without_a_home_folder_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Newer platformdirs raise there, older ones give a folder in the current one."""
    for function in ("user_cache_dir", "user_data_dir"):
        monkeypatch.setattr(platformdirs, function, answer)
    with pytest.raises(ModelError, match="no home folder to keep models in: set HOME or XDG_CACHE_HOME"):
        user_cache_folder()
    with pytest.raises(ModelError, match="no home folder to keep models in: set HOME or XDG_DATA_HOME"):
        user_data_folder()


if sys.platform == "linux":  # other systems do not look at these variables

    def test_an_empty_home_is_none_unless_the_folder_has_a_variable_of_its_own(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HOME", "")
        for variable, get_folder in (
            ("XDG_CACHE_HOME", user_cache_folder),
            ("XDG_DATA_HOME", user_data_folder),
        ):
            monkeypatch.delenv(variable, raising=False)
            with pytest.raises(ModelError, match=f"no home folder to keep models in: set HOME or {variable}"):
                get_folder()
            monkeypatch.setenv(variable, "/elsewhere")
            assert get_folder() == Path("/elsewhere/digitscan")


def test_what_is_written_is_read_back_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for data in (b"first", b"second"):
        write_private_file(path, data)
        assert read_private_file(path) == data
    assert list(path.parent.iterdir()) == [path]


if os.name == "posix":  # other systems have no such owners, nor named pipes

    def test_what_another_user_owns_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "file"
        write_private_file(path, b"data")
        monkeypatch.setattr(private_files.os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(PermissionError, match="another user owns it"):
            read_private_file(path)
        with pytest.raises(PermissionError, match="another user owns it"):
            write_private_file(path, b"data")

    def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "file", 0o600)
        with pytest.raises(PermissionError, match="not a regular file"):
            read_private_file(tmp_path / "file")
