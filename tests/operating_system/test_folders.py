"""Folders are opened step by step: any depth, no link below the root, few descriptors."""

import os

import pytest

from digitscan.prediction import Folder
from digitscan.system.folders import HAS_DIR_FD, FolderOpener

if HAS_DIR_FD:

    @pytest.fixture
    def opener():
        opener = FolderOpener()
        yield opener
        opener.close()

    def read(opener, name, folder):
        path, dir_fd = opener.locate(name, folder)
        with open(os.open(path, os.O_RDONLY, dir_fd=dir_fd)) as file:
            return file.read()

    def make_chain(root, depth, name="d"):
        """Make folders in each other, each with a file that tells its depth."""
        folder = os.open(root, os.O_RDONLY)
        for level in range(depth + 1):
            with open(os.open("a", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
                file.write(str(level))
            os.mkdir(name, dir_fd=folder)
            inner = os.open(name, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = inner
        os.close(folder)

    def test_folders_are_opened_in_any_order_whatever_their_depth(opener, tmp_path):
        make_chain(tmp_path, 60)
        before = len(os.listdir("/dev/fd"))
        for level in (0, 60, 59, 58, 20, 60, 0, 1, 40, 39, 3, 60):
            assert read(opener, "a", Folder(str(tmp_path), "/".join("d" * level))) == str(level)
        assert len(os.listdir("/dev/fd")) - before < 20

    def test_a_path_longer_than_the_system_allows_is_opened(opener, tmp_path):
        name = "n" * 200
        make_chain(tmp_path, 40, name)
        assert read(opener, "a", Folder(str(tmp_path), "/".join([name] * 40))) == "40"

    def test_links_are_followed_in_the_root_and_nowhere_below(opener, tmp_path):
        (tmp_path / "real" / "sub" / "deep").mkdir(parents=True)
        (tmp_path / "real" / "sub" / "deep" / "a").write_text("a")
        (tmp_path / "root").symlink_to("real")
        (tmp_path / "real" / "link").symlink_to("sub")
        root = str(tmp_path / "root")
        assert read(opener, "a", Folder(root, "sub/deep")) == "a"
        for subpath in ("link", "link/deep"):
            with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
                opener.locate("a", Folder(root, subpath))
        assert read(opener, "a", Folder(root, "sub/deep")) == "a"

    def test_a_folder_that_is_missing_does_not_hinder_the_next_one(opener, tmp_path):
        make_chain(tmp_path, 3)
        for subpath, level in (("d/x/y", None), ("d/d", 2), ("x", None), ("", 0)):
            folder = Folder(str(tmp_path), subpath)
            if level is None:
                with pytest.raises(FileNotFoundError):
                    opener.locate("a", folder)
            else:
                assert read(opener, "a", folder) == str(level)
        with pytest.raises(FileNotFoundError):
            opener.locate("a", Folder(str(tmp_path / "missing")))
        assert read(opener, "a", Folder(str(tmp_path), "d")) == "1"
