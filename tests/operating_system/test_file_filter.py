"""Which names in a folder are skipped, and why."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.errors import UsageError
from digitscan.system.file_filter import FileFilter

NAME_CHARACTERS = st.text(st.sampled_from("abAB.*?[]!^-~ \n\\é"), min_size=1, max_size=8)


def reason(path, **filters):
    """Tell why a path is skipped; that of a folder ends in a slash."""
    is_folder = path.endswith("/")
    subpath, _, name = path.rstrip("/").rpartition("/")
    return FileFilter(**filters).find_skip_reason(subpath, name.encode(), is_folder)


@pytest.mark.parametrize(
    "path",
    ["._1.png", "a/._scan.JPG", ".DS_Store", "Icon\r", "thumbs.db", "desktop.ini", "~$list.png", ".~lock.a#"],
)
def test_the_files_of_systems_are_skipped(path):
    assert reason(path) == reason(path, reads_hidden=True) == "system file"


@pytest.mark.parametrize(
    "path", ["half.png.part", "half.png.crdownload", "half.PNG.TMP", ".syncthing.x.png.tmp", "a.png~"]
)
def test_files_that_are_not_finished_are_skipped(path):
    assert reason(path) == reason(path, reads_hidden=True) == "temporary file"


@pytest.mark.parametrize(
    "path",
    [
        "__MACOSX/", "a/@eaDir/", ".thumbnails/", "#recycle/", "@Recycle/", "$RECYCLE.BIN/", "$Recycle.Bin/",
        ".Trashes/", ".Trash-1000/", ".ipynb_checkpoints/", ".stversions/", "System Volume Information/",
    ],
)  # fmt: skip
def test_the_folders_of_systems_are_skipped(path):
    assert reason(path) == reason(path, reads_hidden=True) == "system folder"


@pytest.mark.parametrize(
    "path",
    ["1.png", "_1.png", "part.png", "tmp", "a.download.png", "@eaDir", "eaDir/", "thumbnails/", "~a.png"],
)
def test_names_that_only_resemble_those_of_systems_are_read(path):
    assert reason(path) is None


def test_hidden_files_and_folders_are_read_on_demand():
    assert (reason(".a.png"), reason("b/.c/")) == ("hidden file", "hidden folder")
    assert reason(".a.png", reads_hidden=True) is None and reason("b/.c/", reads_hidden=True) is None


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.jpg", ["a.jpg", "sub/b.JPG", "sub/.jpg/c"], ["a.jpg.png", "jpg"]),
        ("drafts", ["drafts", "drafts/a.png", "x/drafts/y/a.png"], ["drafts2", "my drafts/a.png"]),
        ("drafts/", ["drafts/a.png", "x/drafts/a.png"], ["drafts"]),
        ("x/a.png", ["x/a.png"], ["y/x/a.png", "a.png", "xa.png"]),
        ("/a.png", ["a.png"], ["x/a.png"]),
        ("./a.png", ["a.png"], ["x/a.png"]),
        ("x/*.png", ["x/a.png"], ["x/y/a.png"]),
        ("**/x/a.png", ["x/a.png", "y/z/x/a.png"], ["yx/a.png"]),
        ("x/**", ["x/a", "x/y/a"], ["x", "y/x/a"]),
        ("x/**/a.png", ["x/a.png", "x/y/z/a.png"], ["x/ya.png"]),
        ("page-[0-9]?.png", ["page-01.png"], ["page-1.png", "page-a1.png"]),
        ("[!0-9]*", ["a1", "x/b"], ["1a"]),
        ("[*].png", ["*.png"], ["a.png"]),
        ("a[", ["a["], ["a"]),
        ("ü*.png", ["über.png", "Über.png"], ["uber.png"]),
    ],
)
def test_a_pattern_matches_names_at_any_depth_or_paths_and_all_that_is_in_a_folder(pattern, matching, others):
    for path in matching:
        assert reason(path, include=[pattern], reads_hidden=True) is None, path
        assert reason(path, exclude=[pattern], reads_hidden=True) == "excluded file", path
    for path in others:
        assert reason(path, include=[pattern]) == "not included", path
        assert reason(path, exclude=[pattern]) is None, path


def test_a_folder_is_left_out_as_a_whole_and_entered_whatever_is_included():
    assert reason("x/drafts/", exclude=["*.jpg", "drafts"]) == "excluded folder"
    assert reason("x/", include=["*.jpg"]) is None


def test_what_is_excluded_is_skipped_even_if_it_is_included():
    assert reason("a.jpg", include=["*.jpg"], exclude=["a*"]) == "excluded file"


@given(NAME_CHARACTERS.filter(lambda pattern: "[" not in pattern), NAME_CHARACTERS)
def test_a_pattern_for_one_name_matches_what_the_shell_would(pattern, name):
    """Except in sets, which may be no pattern."""
    if name in {".", ".."} or reason(name, reads_hidden=True):
        return
    expected = fnmatch.fnmatchcase(name.lower(), pattern.lower())
    assert (reason(name, exclude=[pattern], reads_hidden=True) == "excluded file") == expected


@given(NAME_CHARACTERS, st.binary(max_size=8))
def test_any_text_is_a_pattern_or_a_usage_error_and_any_name_can_be_asked_about(pattern, name):
    try:
        file_filter = FileFilter([pattern], [pattern])
    except UsageError:
        return
    file_filter.find_skip_reason("sub", name, is_folder=False)


@pytest.mark.parametrize("pattern", ["", "/", "[z-a]"])
def test_what_is_no_pattern_is_a_usage_error(pattern):
    with pytest.raises(UsageError, match="pattern"):
        FileFilter(exclude=[pattern])


def test_a_pattern_with_many_stars_takes_no_time():
    assert reason("a" * 255, exclude=["*a" * 40 + "b"]) is None
