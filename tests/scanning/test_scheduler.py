"""The scan: one row for every file, in order, whatever happens to the processes that read them."""

import contextlib
import itertools
import multiprocessing
import sys
import time
from pathlib import Path

import pytest

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.registry import load_model
from digitscan.prediction import ImageFile, Status
from digitscan.scanning.scheduler import MAX_READ_AHEAD, ScanOptions, predict_in_batches, scan
from digitscan.workers.supervisor import SpawnedProcess


@pytest.fixture
def files(tmp_path):
    """Make files with the texts given, and return them as found."""

    def make(texts):
        found = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number:04d}"
            path.write_text(text)
            found.append(ImageFile(str(path), path.name))
        return found

    return make


def digits(rows):
    return [row.note if row.digit is None else row.digit for row in rows]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_come_in_order_for_any_number_of_workers_and_batch_size(
    files, stub_model, stub_command, workers, batch_size
):
    texts = [str(number % 10) for number in range(300)]
    options = ScanOptions(workers=workers, batch_size=batch_size, worker_command=stub_command)
    rows = list(scan(files(texts), stub_model, options))
    assert [row.path for row in rows] == [f"{number:04d}" for number in range(300)]
    assert digits(rows) == [number % 10 for number in range(300)]


@pytest.mark.parametrize("places", [(0,), (15,), (8,), (31,), (0, 1, 2), (14, 15, 16), tuple(range(32))])
@pytest.mark.parametrize("trouble", ["empty file", "crash"])
def test_a_bad_file_first_in_the_middle_or_last_leaves_every_other_row_as_it_was(
    files, stub_model, stub_command, places, trouble
):
    texts = [trouble if number in places else str(number % 10) for number in range(32)]
    rows = list(scan(files(texts), stub_model, ScanOptions(workers=1, worker_command=stub_command)))
    assert [row.path for row in rows] == [f"{number:04d}" for number in range(32)]
    reason = "crashed the decoder: the process that read it ended" if trouble == "crash" else trouble
    assert digits(rows) == [reason if number in places else number % 10 for number in range(32)]


def test_a_file_that_hangs_the_decoder_gets_its_row_at_the_timeout(files, stub_model, stub_command):
    texts = [str(number % 10) for number in range(40)]
    texts[5] = texts[6] = texts[39] = "hang"
    options = ScanOptions(workers=2, timeout=0.5, worker_command=stub_command)
    start = time.monotonic()
    rows = list(scan(files(texts), stub_model, options))
    assert time.monotonic() - start < 10
    assert [number for number, row in enumerate(rows) if row.status is Status.ERROR] == [5, 6, 39]
    assert rows[5].note == "timed out: more than 0.5 seconds"
    assert digits(rows)[:5] == [0, 1, 2, 3, 4]
    assert digits(rows)[7:39] == [number % 10 for number in range(7, 39)]


def test_many_files_take_longer_than_the_timeout_together_and_none_alone(files, stub_model, stub_command):
    options = ScanOptions(workers=1, timeout=0.5, worker_command=stub_command)
    rows = list(scan(files(["slow 4"] * 25), stub_model, options))
    assert digits(rows) == [4] * 25


def test_a_worker_killed_in_mid_run_loses_no_row(files, tmp_path, stub_model, stub_command):
    """The file in hand is not to blame for a kill from outside: it is read again, and answered."""
    mark = tmp_path / "killed"
    texts = [str(number % 10) for number in range(200)]
    options = ScanOptions(workers=2, worker_command=(*stub_command, str(mark)))
    rows = list(scan(files(texts), stub_model, options))
    assert mark.exists()
    assert digits(rows) == [number % 10 for number in range(200)]


def test_a_file_that_ends_the_process_while_classifying_costs_only_its_own_row(
    files, stub_model, stub_command
):
    texts = [str(number % 10) for number in range(20)]
    texts[7] = "crash while classifying"
    rows = list(scan(files(texts), stub_model, ScanOptions(workers=1, worker_command=stub_command)))
    assert [number for number, row in enumerate(rows) if row.status is Status.ERROR] == [7]


def test_what_native_code_prints_in_a_worker_spoils_nothing(files, stub_model, stub_command):
    rows = list(scan(files(["1", "noise", "2"]), stub_model, ScanOptions(worker_command=stub_command)))
    assert digits(rows) == [1, 3, 2]


def test_files_are_taken_lazily_and_a_bounded_number_at_a_time(files, stub_model, stub_command):
    taken = 0
    (seven,) = files(["7"])

    def endless():
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield seven

    options = ScanOptions(workers=1, batch_size=10, worker_command=stub_command)
    rows = predict_in_batches(endless(), stub_model, options)
    done = sum(len(next(rows)) for _ in range(5))
    rows.close()
    assert taken <= MAX_READ_AHEAD + done


def test_no_process_outlives_a_scan_that_is_given_up(files, stub_model, stub_command, tmp_path):
    batches = predict_in_batches(files(["7"] * 100), stub_model, ScanOptions(worker_command=stub_command))
    next(batches)
    workers = [worker._process.number for worker in batches.gi_frame.f_locals["run"]._workers]
    batches.close()
    assert workers and not any(Path(f"/proc/{number}").exists() for number in workers)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_scan_runs_in_a_process_however_that_was_started(files, stub_model, stub_command, method):
    found = files(["7", "crash", "3"])
    queue = multiprocessing.get_context(method).SimpleQueue()
    options = ScanOptions(worker_command=stub_command)
    process = multiprocessing.get_context(method).Process(
        target=_scan_into, args=(queue, found, stub_model, options)
    )
    process.start()
    answers = queue.get()
    process.join()
    assert answers == [7, "crashed the decoder: the process that read it ended", 3]


def _scan_into(queue, found, model, options):
    queue.put(digits(scan(found, model, options)))


def test_libraries_start_no_threads_of_their_own_in_a_worker(picture, tmp_path):
    """One process a core: more threads than two (one reads, one listens) would fight the others. Linux."""
    picture.save(tmp_path / "a.png")
    found = [ImageFile(str(tmp_path / "a.png"), "a.png")] * 40
    batches = predict_in_batches(found, load_model("cnn"), ScanOptions(workers=1))
    with contextlib.closing(batches):
        next(batches)
        (worker,) = batches.gi_frame.f_locals["run"]._workers
        assert len(list(Path(f"/proc/{worker._process.number}/task").iterdir())) == 2


def test_a_model_that_the_workers_refuse_ends_the_scan(files, stub_model, stub_command):
    from dataclasses import replace

    model = replace(stub_model, compiled_path=Path("refuse"))
    with pytest.raises(ModelError, match="the stub refuses this model"):
        list(scan(files(["1"]), model, ScanOptions(worker_command=stub_command)))


def test_workers_that_never_get_ready_end_the_scan_with_a_sentence(files, stub_model, stub_command):
    from dataclasses import replace

    model = replace(stub_model, compiled_path=Path("die"))
    with pytest.raises(DigitscanError, match="end as soon as they start"):
        list(scan(files(["1"]), model, ScanOptions(worker_command=stub_command)))


def test_a_worker_that_cannot_be_started_is_said(files, stub_model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    options = ScanOptions(worker_command=(sys.executable + "-missing",))
    with pytest.raises(DigitscanError, match="No process to read the files can be started"):
        list(scan(files(["1"]), stub_model, options))
    assert not list((tmp_path / "temporary").iterdir())


def test_where_no_thread_can_start_it_is_said_and_no_process_left(
    files, stub_model, stub_command, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    ended, wait = [], SpawnedProcess.wait
    monkeypatch.setattr(SpawnedProcess, "wait", lambda self: ended.append(wait(self)))

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(DigitscanError, match="No process to read the files can be started"):
        list(scan(files(["1"]), stub_model, ScanOptions(worker_command=stub_command)))
    assert ended and not list((tmp_path / "temporary").iterdir())


def test_few_small_files_start_one_process_and_many_or_large_ones_more(files, stub_model, stub_command):
    large = "1" + " " * 500_000
    for texts, expected in ((["1"] * 10, 1), (["1"] * 600, 3), ([large] * 10, 2)):
        options = ScanOptions(workers=max(2, expected), worker_command=stub_command)
        batches = predict_in_batches(files(texts), stub_model, options)
        next(batches)
        assert len(batches.gi_frame.f_locals["run"]._workers) == expected
        batches.close()


def test_a_name_that_is_no_utf8_says_so_in_its_note(stub_model, stub_command, tmp_path):
    (tmp_path / "a").write_text("7")
    found = [ImageFile(str(tmp_path / "a"), r"\xff", ("name is not UTF-8",))]
    (row,) = scan(found, stub_model, ScanOptions(worker_command=stub_command))
    assert (row.digit, row.note) == (7, "name is not UTF-8")
