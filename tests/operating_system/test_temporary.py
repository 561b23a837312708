"""Where temporary files go when the usual folder cannot take them."""

import shutil
import tempfile
from pathlib import Path

import pytest

from digitscan.system import temporary
from digitscan.system.temporary import find_temporary_folder


@pytest.fixture
def memory_folder(tmp_path, monkeypatch):
    """A folder in the place of the file system in memory."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(temporary, "_MEMORY_FOLDER", str(folder))
    return folder


def set_free_bytes(monkeypatch, free_bytes):
    """Let file systems have this much space, by the names of folders."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free_bytes[Path(path).name]))


def test_it_is_the_usual_folder_where_that_has_space(tmp_path, monkeypatch, memory_folder):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert find_temporary_folder(1000) == str(tmp_path)


def test_it_is_in_memory_where_the_disk_is_full(tmp_path, monkeypatch, memory_folder):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    set_free_bytes(monkeypatch, {tmp_path.name: 999, "memory": 1000})
    assert find_temporary_folder(1000) == str(memory_folder)


def test_it_is_in_memory_where_no_disk_can_be_written(monkeypatch, memory_folder):
    def raise_error():
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", raise_error)
    assert find_temporary_folder(1000) == str(memory_folder)


def test_where_nothing_has_space_the_error_says_what_to_set(tmp_path, monkeypatch, memory_folder):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    set_free_bytes(monkeypatch, {tmp_path.name: 999, "memory": 999})
    with pytest.raises(OSError, match="no folder for temporary files has space: set TMPDIR"):
        find_temporary_folder(1000)
