"""Frames between a supervisor and its workers."""

import io
import json

import pytest

from digitscan.prediction import Folder, ImageFile
from digitscan.workers.protocol import (
    FileLocation,
    WorkerRow,
    pack_files,
    read_frame,
    unpack_files,
    write_frame,
)


def test_a_frame_comes_back_as_it_was_written():
    file = io.BytesIO()
    write_frame(file, [WorkerRow(7, 0.5, "ok", "é", None), {"serial": 1}])
    file.seek(0)
    assert read_frame(file) == [[7, 0.5, "ok", "é", None], {"serial": 1}]
    with pytest.raises(EOFError):
        read_frame(file)


def test_the_files_of_a_task_come_back_with_their_folders():
    deep, root = Folder("images", "a/\udcff"), Folder("images")
    files = [FileLocation("1", deep), FileLocation("2", deep), FileLocation("a.png"), FileLocation("3", root)]
    assert unpack_files(json.loads(json.dumps(pack_files(files)))) == files
    found = [ImageFile(file.path, "shown", (), file.folder) for file in files]
    assert pack_files(found) == pack_files(files)


def test_a_frame_that_is_cut_off_is_the_end_of_the_stream():
    file = io.BytesIO()
    write_frame(file, "a long text")
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(file.getvalue()[:-1]))


def test_a_frame_longer_than_any_of_ours_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="not a frame"):
        read_frame(io.BytesIO(b"word" + bytes(100)))
