"""Files are replaced whole or not at all, nothing else is touched for it, and they are read whole."""

import errno
import os
import stat

import pytest

from digitscan.errors import ImageError
from digitscan.system import files
from digitscan.system.files import open_regular_file, read_regular_file, write_atomic

DATA = bytes(range(256)) * 10


@pytest.fixture(params=["without a name", "with a name"])
def path(request, tmp_path, monkeypatch):
    """A path to write to, where the system can create files that have no name yet, and where it cannot."""
    if request.param == "with a name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return tmp_path / "file.json"


def test_a_file_is_created_and_replaced_with_nothing_left_over(path):
    for data in (b"old", DATA, b""):
        write_atomic(path, data)
        assert path.read_bytes() == data and os.listdir(path.parent) == [path.name]


def test_the_old_file_stays_if_the_new_one_cannot_be_finished(path):
    write_atomic(path, b"old")

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomic(path, DATA, before_replace=fail)
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == [path.name]
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(path, DATA)
    assert os.listdir(path.parent) == [path.name]


if os.name == "posix":

    def test_a_link_with_the_temporary_name_is_not_followed_nor_replaced(path, monkeypatch):
        """Even if somebody foresees the name, which is random."""
        monkeypatch.setattr(files.os, "urandom", bytes)
        victim, link = path.with_name("victim"), path.with_name(f".{path.name}.{'00' * 6}.part")
        victim.write_bytes(b"precious")
        link.symlink_to(victim)
        with pytest.raises(FileExistsError):
            write_atomic(path, DATA)
        assert victim.read_bytes() == b"precious" and link.is_symlink() and not path.exists()

    @pytest.mark.parametrize("mode", [0o600, 0o666])
    def test_the_umask_takes_away_permissions_and_adds_none(path, mode):
        previous = os.umask(0o022)
        try:
            write_atomic(path, DATA, mode=mode)
        finally:
            os.umask(previous)
        assert stat.S_IMODE(path.stat().st_mode) == mode & ~0o022

    def test_a_link_is_refused_where_none_may_be_followed(tmp_path):
        (tmp_path / "file").write_bytes(DATA)
        (tmp_path / "link").symlink_to("file")
        assert open_regular_file(str(tmp_path / "link")).read() == DATA
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            open_regular_file(str(tmp_path / "link"), follow_links=False)

    def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ImageError, match="a pipe, socket or device"):
            open_regular_file(str(tmp_path / "pipe"))


def short_read(descriptor, size, read=os.read):
    """Read as a network file system may: less than was asked for."""
    return read(descriptor, min(size, 7))


@pytest.mark.parametrize("max_bytes", [10, len(DATA), 10_000])
def test_a_file_that_comes_in_pieces_is_read_whole(tmp_path, monkeypatch, max_bytes):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    monkeypatch.setattr(files.os, "read", short_read)
    contents = read_regular_file(str(path), max_bytes)
    assert isinstance(contents, bytes) == (max_bytes >= len(DATA))
    assert (contents if isinstance(contents, bytes) else contents.read()) == DATA
    with open_regular_file(str(path)) as file:
        assert file.read(300) == DATA[:300]
        buffer = bytearray(3000)
        assert file.readinto(buffer) == len(DATA) - 300 and buffer.startswith(DATA[300:])
        assert file.read() == b""


def test_a_file_that_grows_while_it_is_read_is_read_to_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    status = os.stat(path)
    path.write_bytes(DATA * 2)
    monkeypatch.setattr(files.os, "fstat", lambda descriptor: status)
    assert read_regular_file(str(path), len(DATA) + 5) == (DATA * 2)[: len(DATA) + 5]


def test_a_file_that_is_not_ready_is_waited_for_once(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    real_read = os.read

    def refuse(descriptor, size):
        if not os.get_blocking(descriptor) or path.with_name("never").exists():
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return real_read(descriptor, size)

    monkeypatch.setattr(files.os, "read", refuse)
    assert read_regular_file(str(path), 10_000) == DATA
    path.with_name("never").touch()
    with pytest.raises(OSError, match="temporarily unavailable"):
        read_regular_file(str(path), 10_000)
