"""Frames between a supervisor and its workers."""

import io
import json

import pytest

from digitscan.prediction import Folder, ImageFile
from digitscan.workers.protocol import (
    FileLocation,
    WorkerRow,
    pack_files,
    parse_worker_row,
    read_frame,
    unpack_files,
    write_frame,
)


def test_a_frame_comes_back_as_it_was_written():
    file = io.BytesIO()
    write_frame(file, [WorkerRow(7, 0.5, "ok", "é", None), {"serial": 1}])
    file.seek(0)
    assert read_frame(file) == [[7, 0.5, "ok", "é", None, None, None], {"serial": 1}]
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


NUMBER_ROW = WorkerRow(None, 0.5, "ok", "", None, "007", [0.9, 1.0, 0.8])


def test_the_row_of_a_number_comes_back_as_it_was_sent():
    sent = json.loads(json.dumps(NUMBER_ROW))
    assert parse_worker_row(sent) == NUMBER_ROW


@pytest.mark.parametrize(
    "change",
    [{"number": number} for number in (7, "", "7.0", "=1+1", "-7", "\u0663", "1" * 2000, "1\n2", ["1"])]
    + [{"digit_confidences": each} for each in ([0.9], [0.9, 1.0, 1.5], [0.9, 1.0, None], 3, "007")]
    + [{"number": None}, {"status": "fine"}, {"confidence": "x"}],
    ids=str,
)
def test_a_row_that_holds_no_number_of_ours_is_refused(change):
    values = json.loads(json.dumps(NUMBER_ROW._replace(**change)))
    with pytest.raises((TypeError, ValueError, ArithmeticError, LookupError)):
        parse_worker_row(values)
