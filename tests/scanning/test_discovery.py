"""Finding: which files get a row, under which name, in which order."""

import os
from pathlib import Path

import pytest

from digitscan.errors import UsageError
from digitscan.prediction import ImageFile
from digitscan.scanning.discovery import WalkStats, check_paths, count_images, find_images
from tests.support.pictures import digit_picture

PNG = b"\x89PNG\r\n\x1a\n"


def names(*paths, stats=None, exclude=()):
    return [found.name for found in find_images([Path(p) for p in paths], stats or WalkStats(), exclude)]


def make(folder, *files, content=PNG):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


def test_a_folders_files_come_before_its_subfolders_sorted_by_bytes(tmp_path):
    make(tmp_path, "b/2.png", "b/10.png", "a.d/1.png", "a/z.png", "z.png", "B.png", "é.png", "a/c/y.png")
    assert names(tmp_path) == [
        "B.png", "z.png", "é.png", "a/z.png", "a/c/y.png", "a.d/1.png", "b/10.png", "b/2.png",
    ]  # fmt: skip


def test_suffixes_count_in_any_case_and_content_counts_without_them(tmp_path):
    make(tmp_path, "a.PNG", "b.Jpeg", "c.heic", content=b"whatever")
    make(tmp_path, "d", "e.dat")
    make(tmp_path, "notes.txt", "BM", content=b"BMW is not a bitmap, it is a text of some length")
    stats = WalkStats()
    assert names(tmp_path, stats=stats) == ["a.PNG", "b.Jpeg", "c.heic", "d", "e.dat"]
    assert (stats.images, stats.skipped) == (5, {"no image": 2})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_every_format_is_known_by_its_first_bytes(tmp_path, kind):
    digit_picture().save(tmp_path / "nameless", kind)
    assert names(tmp_path) == ["nameless"]


def test_a_named_file_always_has_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "notes.txt", content=b"text")
    make(tmp_path, "sub/a.png")
    assert names("notes.txt", "sub/../sub/a.png") == ["notes.txt", "sub/../sub/a.png"]


def test_names_are_relative_to_one_folder_and_as_given_for_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "one/a.png", "two/a.png")
    assert names("one") == ["a.png"]
    assert names("two/", "one") == ["two/a.png", "one/a.png"]
    assert names(".") == ["one/a.png", "two/a.png"]


def test_our_own_outputs_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.png", "sub/out.png", "sub/b.png")
    assert names(tmp_path, exclude=[Path("sub/out.png")]) == ["a.png", "sub/b.png"]


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        check_paths([tmp_path, tmp_path / "missing"])


def test_the_estimated_count_agrees_with_the_files_found(tmp_path):
    make(tmp_path, "a.png", "x/b.jpg", "x/y/c.TIF", "x/notes.txt")
    assert count_images([tmp_path, tmp_path / "a.png"]) == 4


def test_one_folders_names_are_read_only_when_its_turn_comes(tmp_path):
    make(tmp_path, "a.png", "sub/b.png")
    walk = find_images([tmp_path], WalkStats())
    next(walk)
    make(tmp_path, "sub/a.png")
    assert [found.name for found in walk] == ["sub/a.png", "sub/b.png"]


if os.name == "posix":

    def test_a_name_that_is_not_utf8_is_shown_with_escapes_and_opened_by_its_bytes(tmp_path):
        raw = os.path.join(os.fsencode(tmp_path), b"a\\\xff.png")
        with open(raw, "wb") as file:
            file.write(PNG)
        (found,) = find_images([tmp_path], WalkStats())
        assert found == ImageFile(os.fsdecode(raw), r"a\\\xff.png", ("name is not UTF-8",))
        assert os.path.exists(found.path)

    def test_links_to_folders_pipes_and_loops_are_counted_and_not_followed(tmp_path):
        make(tmp_path, "a.png")
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
        (tmp_path / "dead.png").symlink_to(tmp_path / "nothing")
        os.mkfifo(tmp_path / "pipe.png")
        stats = WalkStats()
        assert names(tmp_path, stats=stats) == ["a.png", "dead.png", "link.png"]
        assert stats.skipped == {"link to a folder": 1, "pipe, socket or device": 1}

    def test_a_folder_that_cannot_be_listed_is_recorded(tmp_path, monkeypatch):
        make(tmp_path, "a.png", "closed/b.png")
        real = os.scandir

        def refuse(folder):
            if b"closed" in folder:
                raise PermissionError(13, "Permission denied")
            return real(folder)

        monkeypatch.setattr(os, "scandir", refuse)
        stats = WalkStats()
        assert names(tmp_path, stats=stats) == ["a.png"]
        assert stats.unreadable_folders == ["closed/"]
