"""Finding: which files get a row, under which name, in which order."""

import os
from pathlib import Path

import pytest

from digitscan.errors import UsageError
from digitscan.prediction import Folder, ImageFile, text_to_path
from digitscan.scanning.discovery import (
    WalkStats,
    check_paths,
    count_images,
    drop_repeated,
    find_images,
)
from digitscan.scanning.file_locator import FileLocator
from digitscan.system.file_filter import FileFilter
from digitscan.workers.file_kinds import FileKind, detect_kinds
from tests.support.pictures import digit_picture

PNG = b"\x89PNG\r\n\x1a\n"


def detect(files):
    """Detect the kinds of files as a scan does, but without a process."""
    return detect_kinds(files, lambda index: None)


def find(paths, stats, own_files=(), **filters):
    return find_images(paths, stats, detect, own_files, FileFilter(**filters))


def names(*paths, stats=None, own_files=(), **filters):
    unique = drop_repeated(map(Path, paths))
    return [found.name for found in find(unique, stats or WalkStats(), own_files, **filters)]


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
    assert names(tmp_path, own_files=[Path("sub/out.png")]) == ["a.png", "sub/b.png"]


def test_leftovers_of_systems_are_skipped_counted_and_reported(tmp_path):
    make(
        tmp_path,
        *("mac/1.png", "mac/._1.png", "mac/__MACOSX/._1.png", "nas/5.png", "nas/@eaDir/5.png/THUMB.jpg"),
        *("nas/#recycle/gone.png", "win/w.png", "win/half.png.part", "win/$RECYCLE.BIN/$R1.png"),
        *("jup/a.png", "jup/.ipynb_checkpoints/a-checkpoint.png", ".hidden.png", ".private/b.png"),
    )
    make(tmp_path, "notes.txt", content=b"text")
    reported = []
    stats = WalkStats(report_skipped=lambda *skipped: reported.append(skipped))
    assert names(tmp_path, stats=stats) == ["jup/a.png", "mac/1.png", "nas/5.png", "win/w.png"]
    assert stats.skipped == {
        "hidden file": 1,
        "hidden folder": 1,
        "no image": 1,
        "system folder": 5,
        "system file": 1,
        "temporary file": 1,
    }
    assert len(reported) == stats.skipped.total()
    assert ("nas/@eaDir", "system folder") in reported and ("notes.txt", "no image") in reported


def test_what_is_skipped_in_a_folder_is_read_where_it_is_named(tmp_path):
    make(tmp_path, ".hidden.png", "@eaDir/a.png", "@eaDir/b.tmp")
    given = [tmp_path / ".hidden.png", tmp_path / "@eaDir"]
    assert [Path(name).name for name in names(*given, exclude=["@eaDir"])] == [".hidden.png", "a.png"]


def test_patterns_begin_in_each_of_the_folders_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "one/a.png", "one/x/a.png", "two/a.png", "two/x/b.png", "two/.x/c.png")
    assert names("one", "two", exclude=["/a.png"]) == ["one/x/a.png", "two/x/b.png"]
    assert names("one", "two", include=["x/"]) == ["one/x/a.png", "two/x/b.png"]
    assert names("two", reads_hidden=True) == ["a.png", ".x/c.png", "x/b.png"]


def test_a_file_named_twice_has_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.png", "sub/b.png")
    assert names("a.png", "./a.png", tmp_path / "a.png", "sub/../a.png") == ["a.png"]
    assert names("sub", "sub/", tmp_path / "sub") == ["b.png"]


def test_a_file_that_is_named_and_in_a_folder_has_its_row_where_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "one/a.png", "one/b.png", "one/notes.txt", "one/sub/c.png", "one/sub/d.png", "one/z/e.png")
    given = ["one", "one/notes.txt", tmp_path / "one/a.png", "one/sub", "one/sub/d.png"]
    assert names(*given) == [
        "one/b.png", "one/z/e.png", "one/notes.txt", f"{tmp_path.as_posix()}/one/a.png", "one/sub/c.png",
        "one/sub/d.png",
    ]  # fmt: skip
    assert names("one/sub", "one") == [
        "one/sub/c.png", "one/sub/d.png", "one/a.png", "one/b.png", "one/notes.txt", "one/z/e.png",
    ]  # fmt: skip


def test_our_own_outputs_are_left_out_even_where_they_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.png", "rows.csv", "sub/rows.csv")
    own_files = [tmp_path / "rows.csv"]
    assert names("a.png", "rows.csv", "sub/rows.csv", own_files=own_files) == ["a.png", "sub/rows.csv"]


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        check_paths([tmp_path, tmp_path / "missing"])


def test_the_estimated_count_agrees_with_the_files_found(tmp_path):
    make(tmp_path, "a.png", "x/b.jpg", "x/y/c.TIF")
    make(tmp_path, ".hidden.png", "x/@eaDir/thumb.png")
    given = [tmp_path, tmp_path / "a.png", tmp_path / "x"]
    assert count_images(given) == len(names(*given)) == 3
    assert count_images(given, FileFilter(exclude=["*.tif"])) == 2


def test_one_folders_names_are_read_only_when_its_turn_comes(tmp_path):
    make(tmp_path, "a.png", "sub/b.png")
    walk = find([tmp_path], WalkStats())
    next(walk)
    make(tmp_path, "sub/a.png")
    assert [found.name for found in walk] == ["sub/a.png", "sub/b.png"]


if os.name == "posix":

    def test_a_name_that_is_not_utf8_is_shown_with_escapes_and_opened_by_its_bytes(tmp_path):
        raw = os.path.join(os.fsencode(tmp_path), b"a\\\xff.png")
        with open(raw, "wb") as file:
            file.write(PNG)
        (found,) = find([tmp_path], WalkStats())
        assert found == ImageFile(
            os.fsdecode(b"a\\\xff.png"), r"a\\\xff.png", ("name is not UTF-8",), Folder(str(tmp_path))
        )

    def test_a_tree_deeper_than_a_path_can_be_is_walked_in_order(tmp_path):
        """Each of 30 folders has a file and two subfolders; only the first of these goes on."""
        folder, expected = os.open(tmp_path, os.O_RDONLY), []
        for depth in range(30):
            prefix = ("a" * 200 + "/") * depth
            expected.insert(depth, f"{prefix}1.png")
            expected.insert(depth + 1, f"{prefix}b/2.png")
            os.close(os.open("1.png", os.O_CREAT, dir_fd=folder))
            os.mkdir("b", dir_fd=folder)
            side = os.open("b", os.O_RDONLY, dir_fd=folder)
            os.close(os.open("2.png", os.O_CREAT, dir_fd=side))
            os.mkdir("a" * 200, dir_fd=folder)
            inner = os.open("a" * 200, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            os.close(side)
            folder = inner
        os.close(folder)
        assert names(tmp_path) == expected
        assert count_images([tmp_path]) == len(expected)

    def test_a_subfolder_that_was_swapped_for_a_link_is_not_followed(tmp_path):
        make(tmp_path, "images/a.png", "images/sub/b.png", "secret/c.png")
        stats = WalkStats()
        walk = find([tmp_path / "images"], stats)
        assert next(walk).name == "a.png"
        (tmp_path / "images" / "sub").rename(tmp_path / "old")
        (tmp_path / "images" / "sub").symlink_to(tmp_path / "secret")
        assert not list(walk)
        assert stats.unreadable_folders == ["sub/"]

    def test_what_is_no_image_by_its_name_and_cannot_be_read_has_a_row(tmp_path):
        make(tmp_path, "a", "b.png", "d")
        make(tmp_path, "e", content=b"some text of some length")
        (tmp_path / "c").symlink_to(tmp_path / "nothing")
        assert names(tmp_path) == ["a", "b.png", "c", "d"]

    def test_links_are_sorted_among_files_by_their_names(tmp_path):
        make(tmp_path, "a", "a.png", "b.png", "c.png")
        for name in ("a-", "a.", "aa", "b.pngs", "b"):
            (tmp_path / name).symlink_to(tmp_path / "a.png")
        assert names(tmp_path) == ["a", "a-", "a.", "a.png", "aa", "b", "b.png", "b.pngs", "c.png"]

    def test_the_walk_itself_opens_no_file_and_follows_no_link(tmp_path):
        """They may block for ever. What they are is asked once for many of them, in order."""
        make(tmp_path, *(f"{index:04d}" for index in range(600)), "x.png")
        (tmp_path / "0300.link").symlink_to(tmp_path)
        asked = []

        def record(files):
            asked.append([file.path for file in files])
            return [FileKind.IMAGE] * len(files)

        found = [file.path for file in find_images([tmp_path], WalkStats(), record)]
        assert found == sorted(os.listdir(tmp_path))
        assert [*asked[0], *asked[1]] == found[:-1] and len(asked) == 2

    def test_the_name_of_a_row_leads_back_to_its_file(tmp_path):
        make(tmp_path, "one/a.png", "one/sub/b.png", "two/c.png", "two/é/d.png", "named.png")
        (tmp_path / "one" / "link").symlink_to(tmp_path / "two")
        for paths in (["one"], ["two", "one", "named.png"], ["one", "one/link", "one/sub"], ["named.png"]):
            given = [tmp_path / path for path in paths]
            for file in find(given, WalkStats()):
                path, folder = FileLocator(given).locate(text_to_path(file.name, True))
                opened = os.path.join(folder.root, folder.subpath, path) if folder else path
                found = os.path.join(*file.folder, file.path) if file.folder else file.path
                assert os.path.samefile(opened, found)

    def test_links_to_folders_pipes_and_loops_are_counted_and_not_followed(tmp_path):
        make(tmp_path, "a.png")
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
        (tmp_path / "dead.png").symlink_to(tmp_path / "nothing")
        os.mkfifo(tmp_path / "pipe.png")
        stats = WalkStats()
        assert names(tmp_path, stats=stats) == ["a.png", "dead.png", "link.png"]
        assert stats.skipped == {"link to a folder": 1, "pipe, socket or device": 1}

    def test_links_to_a_file_are_other_names_and_have_their_rows(tmp_path):
        make(tmp_path, "a.png")
        (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
        os.link(tmp_path / "a.png", tmp_path / "c.png")
        given = [tmp_path / name for name in ("b.png", "a.png", "c.png")]
        assert [Path(name).name for name in names(*given)] == ["b.png", "a.png", "c.png"]
        assert len(names(tmp_path, given[0])) == 3

    def test_a_folder_that_is_reached_by_a_link_as_well_is_read_once(tmp_path):
        make(tmp_path, "one/a.png", "one/sub/b.png")
        (tmp_path / "link").symlink_to(tmp_path / "one" / "sub")
        found = names(tmp_path / "one", tmp_path / "link")
        assert [name.removeprefix(f"{tmp_path}/") for name in found] == ["one/a.png", "link/b.png"]

    def test_a_folder_that_cannot_be_listed_is_recorded(tmp_path, monkeypatch):
        make(tmp_path, "a.png", "closed/b.png")
        real, closed = os.scandir, os.stat(tmp_path / "closed")

        def refuse(folder):
            if os.stat(folder).st_ino == closed.st_ino:
                raise PermissionError(13, "Permission denied")
            return real(folder)

        monkeypatch.setattr(os, "scandir", refuse)
        stats = WalkStats()
        assert names(tmp_path, stats=stats) == ["a.png"]
        assert stats.unreadable_folders == ["closed/"]
