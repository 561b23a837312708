"""The paths that the command is given: arguments, globs, lists."""

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.errors import NoImagesError, UsageError
from digitscan.scanning.given_paths import GivenPaths, collect_paths, expand_globs, read_path_list


def read(tmp_path, data, null_separated=False):
    (tmp_path / "list").write_bytes(data)
    return [os.fspath(path) for path in read_path_list(os.fspath(tmp_path / "list"), null_separated)]


@pytest.mark.parametrize(
    "data",
    [
        b"a.png\nsub/b c.png\n",
        b"a.png\nsub/b c.png",
        b"\na.png\n\n\nsub/b c.png\n\n",
        b"a.png\r\nsub/b c.png\r\n",
        b"\xef\xbb\xbfa.png\nsub/b c.png\n",
        "a.png\r\nsub/b c.png\r\n".encode("utf-16"),
        b"\xfe\xff" + "a.png\nsub/b c.png".encode("utf-16-be"),
    ],
)
def test_a_list_has_one_path_a_line_however_an_editor_ends_lines_and_marks_text(tmp_path, data):
    assert read(tmp_path, data) == [os.path.join("a.png"), os.path.join("sub", "b c.png")]


def test_paths_that_end_in_nul_bytes_may_hold_line_ends(tmp_path):
    assert read(tmp_path, b"a\nb.png\0c.png\r\0", null_separated=True) == ["a\nb.png", "c.png\r"]


def test_a_list_is_read_from_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.png\nb.png\n")))
    assert read_path_list("-", null_separated=False) == [Path("a.png"), Path("b.png")]


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_a_list_or_a_usage_error(tmp_path_factory, data, null_separated):
    folder = tmp_path_factory.getbasetemp()
    try:
        paths = read(folder, data, null_separated)
    except UsageError:
        return
    assert all(paths)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"a.png\0b.png\0",
            "holds NUL bytes: if they separate the paths, as those of find -print0 do, add -0",
        ),
        (b"\xff\xfea\0\n", "is no text: its UTF-16 is damaged"),
    ],
)
def test_what_is_no_list_of_lines_is_a_usage_error(tmp_path, data, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, data)


@pytest.mark.parametrize("name", [".", "missing.txt"])
def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_path_list(name, null_separated=False)


def test_the_list_comes_after_the_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "list"):
        Path(name).write_text("b.png\ngone.png\n")
    expected = GivenPaths([Path("a.png")], [Path("b.png"), Path("gone.png")])
    assert collect_paths([Path("a.png")], "list", null_separated=False) == expected


def test_an_empty_list_holds_no_images_and_one_of_missing_files_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("wrong").write_text("x/a.png\nx/b.png")
    with pytest.raises(NoImagesError, match="'empty' is empty"):
        collect_paths([], "empty", null_separated=False)
    assert collect_paths([Path("empty")], "empty", null_separated=False) == ([Path("empty")], [])
    with pytest.raises(UsageError, match="none of the paths in 'wrong' exists, such as"):
        collect_paths([], "wrong", null_separated=False)


@pytest.mark.parametrize(
    ("null_separated", "message"), [(False, "PATHS are missing"), (True, "--files-from")]
)
def test_neither_paths_nor_a_list_is_a_usage_error(null_separated, message):
    with pytest.raises(UsageError, match=message):
        collect_paths([], None, null_separated)


def test_globs_are_expanded_in_order_where_the_shell_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.png", ".hidden.png", "[x].png", "notes.txt"):
        Path(name).write_bytes(b"")
    paths = [Path("notes.txt"), Path("?.png"), Path("[x].png"), Path("*.jpg")]
    expanded = expand_globs(paths, shell_expands_globs=False)
    assert [*map(str, expanded)] == ["notes.txt", "a.png", "b.png", "[x].png", "*.jpg"]
    assert expand_globs(paths, shell_expands_globs=True) == paths
