"""The scheduler: one row for every file, in order, whatever happens to the workers that read them."""

import itertools
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from digitscan.errors import DigitscanError, ExitCode, ModelError
from digitscan.model.registry import load_model
from digitscan.prediction import ImageFile, Status
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.scheduler import MAX_IN_FLIGHT, Scheduler, predict
from digitscan.workers.protocol import NO_ROW
from digitscan.workers.supervisor import ProcessFactory, SpawnedProcess

CRASHED = "crashed the decoder: the process that read it ended"


@pytest.fixture
def make_files(tmp_path):
    """Write files with the given texts and return them in this order."""

    def make(texts):
        files = []
        for index, text in enumerate(texts):
            path = tmp_path / f"{index:04d}"
            path.write_text(text)
            files.append(ImageFile(str(path), path.name))
        return files

    return make


@pytest.fixture
def predict_texts(make_files, stub_model, stub_command):
    """Predict files with the given texts, by the stub worker."""

    def predict_texts(texts, worker_command=stub_command, **settings):
        model = replace(stub_model, digit_model=stub_model)
        return list(predict(make_files(texts), model, ScanConfig(**settings), ProcessFactory(worker_command)))

    return predict_texts


def digits_or_notes(rows):
    return [row.note if row.digit is None else row.digit for row in rows]


def count_up(count):
    return [str(index % 10) for index in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunk_size", [1, 7, 64])
def test_rows_come_in_order_for_any_number_of_workers_and_chunk_size(predict_texts, workers, chunk_size):
    rows = predict_texts(count_up(300), workers=workers, chunk_size=chunk_size)
    assert [row.path for row in rows] == [f"{index:04d}" for index in range(300)]
    assert digits_or_notes(rows) == [index % 10 for index in range(300)]


@pytest.mark.parametrize("workers", [1, 3])
def test_numbers_come_in_order_with_the_confidence_of_each_digit(predict_texts, workers):
    rows = predict_texts([f"{index:03}" for index in range(100)], numbers=True, workers=workers, chunk_size=7)
    assert [row.number for row in rows] == [f"{index:03}" for index in range(100)]
    assert {(row.digit, row.status, row.digit_confidences) for row in rows} == {
        (None, Status.OK, (0.5, 0.5, 0.5))
    }


def test_a_worker_that_sends_something_else_than_a_number_costs_the_row_of_that_file_alone(predict_texts):
    rows = predict_texts(["407", "=1+1", "1;2", "empty file", "5"], numbers=True, workers=1)
    assert [row.number for row in rows] == ["407", None, None, None, "5"]
    assert [row.status for row in rows] == ["ok", "error", "error", "error", "ok"]
    assert [row.note for row in rows[1:4]] == [NO_ROW, NO_ROW, "empty file"]


@pytest.mark.parametrize("places", [(0,), (15,), (8,), (31,), (0, 1, 2), (14, 15, 16), tuple(range(32))])
@pytest.mark.parametrize("trouble", ["empty file", "crash"])
def test_a_bad_file_first_in_the_middle_or_last_leaves_every_other_row_unchanged(
    predict_texts, places, trouble
):
    texts = [trouble if index in places else str(index % 10) for index in range(32)]
    rows = predict_texts(texts, workers=1)
    assert [row.path for row in rows] == [f"{index:04d}" for index in range(32)]
    note = CRASHED if trouble == "crash" else trouble
    assert digits_or_notes(rows) == [note if index in places else index % 10 for index in range(32)]


def test_a_file_that_hangs_the_decoder_gets_its_row_at_the_timeout(predict_texts):
    texts = count_up(40)
    texts[5] = texts[6] = texts[39] = "hang"
    start = time.monotonic()
    rows = predict_texts(texts, workers=2, timeout=0.5)
    assert time.monotonic() - start < 10
    assert [index for index, row in enumerate(rows) if row.status is Status.ERROR] == [5, 6, 39]
    assert rows[5].note == "timed out: more than 0.5 seconds"
    assert digits_or_notes(rows)[:5] == [0, 1, 2, 3, 4]
    assert digits_or_notes(rows)[7:39] == [index % 10 for index in range(7, 39)]


def test_the_timeout_is_for_one_file_and_not_for_a_chunk(predict_texts):
    assert digits_or_notes(predict_texts(["slow 4"] * 25, workers=1, timeout=0.5)) == [4] * 25


def test_a_worker_killed_from_outside_loses_no_row(predict_texts, tmp_path, stub_command):
    """The file that it was reading is not to blame: it is read again."""
    mark = tmp_path / "killed"
    rows = predict_texts(count_up(200), worker_command=(*stub_command, str(mark)), workers=2)
    assert mark.exists()
    assert digits_or_notes(rows) == [index % 10 for index in range(200)]


def test_a_file_that_ends_the_process_while_classifying_costs_only_its_own_row(predict_texts):
    texts = count_up(20)
    texts[7] = "crash while classifying"
    rows = predict_texts(texts, workers=1)
    assert [index for index, row in enumerate(rows) if row.status is Status.ERROR] == [7]


def test_text_that_native_code_prints_in_a_worker_does_no_harm(predict_texts):
    assert digits_or_notes(predict_texts(["1", "noise", "2"])) == [1, 3, 2]


def test_files_are_taken_lazily_and_a_bounded_number_at_a_time(make_files, stub_model, stub_command):
    taken = 0
    (file,) = make_files(["7"])

    def endless_files():
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield file

    config = ScanConfig(workers=1, chunk_size=10)
    with Scheduler(endless_files(), stub_model, config, ProcessFactory(stub_command)) as scheduler:
        batches = scheduler.batches()
        done = sum(len(next(batches)) for _ in range(5))
    assert taken <= MAX_IN_FLIGHT + done


def test_long_names_are_taken_fewer_at_a_time(make_files, stub_model, stub_command):
    """In a deep tree each may have a million characters."""
    taken = 0
    (file,) = make_files(["7"])

    def endless_files():
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield file._replace(name="n" * (1 << 20))

    with Scheduler(endless_files(), stub_model, ScanConfig(), ProcessFactory(stub_command)) as scheduler:
        done = sum(len(batch) for batch in itertools.islice(scheduler.batches(), 3))
    assert done > 0 and taken - done < 300


def test_no_process_outlives_a_scan_that_is_given_up(make_files, stub_model, stub_command):
    with Scheduler(
        make_files(["7"] * 100), stub_model, ScanConfig(), ProcessFactory(stub_command)
    ) as scheduler:
        next(scheduler.batches())
        pids = scheduler.worker_pids
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_scan_works_in_a_child_process_however_that_was_started(
    make_files, stub_model, stub_command, method
):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    arguments = (queue, make_files(["7", "crash", "3"]), stub_model, stub_command)
    process = context.Process(target=_predict_into, args=arguments)
    process.start()
    answers = queue.get()
    process.join()
    assert answers == [7, CRASHED, 3]


def _predict_into(queue, files, model, worker_command):
    queue.put(digits_or_notes(predict(files, model, ScanConfig(), ProcessFactory(worker_command))))


def test_libraries_start_no_threads_of_their_own_in_a_worker(picture, process_factory, tmp_path):
    """There is one worker for each core; it has a thread that works and one that receives tasks. Linux."""
    picture.save(tmp_path / "a.png")
    files = [ImageFile(str(tmp_path / "a.png"), "a.png")] * 40
    with Scheduler(files, load_model("cnn"), ScanConfig(workers=1), process_factory) as scheduler:
        next(scheduler.batches())
        (pid,) = scheduler.worker_pids
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 2


def test_a_model_that_the_workers_refuse_ends_the_scan(make_files, stub_model, stub_command):
    model = replace(stub_model, compiled_path=Path("refuse"))
    with pytest.raises(ModelError, match="the stub refuses this model"):
        list(predict(make_files(["1"]), model, ScanConfig(), ProcessFactory(stub_command)))


def test_workers_that_never_get_ready_end_the_scan_with_a_sentence(make_files, stub_model, stub_command):
    model = replace(stub_model, name="cnn", compiled_path=Path("die"))
    with pytest.raises(DigitscanError, match="end as soon as they start") as caught:
        list(predict(make_files(["1"]), model, ScanConfig(), ProcessFactory(stub_command)))
    assert caught.value.exit_code == ExitCode.BUG


def test_a_model_that_ends_the_workers_is_named_with_what_to_do(make_files, stub_model, stub_command):
    model = replace(stub_model, compiled_path=Path("die"))
    with pytest.raises(ModelError, match=r"end while they load the model .*stub\.h5: .* form die, which is"):
        list(predict(make_files(["1"]), model, ScanConfig(), ProcessFactory(stub_command)))


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """An empty folder in which this test's temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_worker_that_cannot_be_started_is_an_error_that_leaves_no_file(predict_texts, temporary_folder):
    with pytest.raises(DigitscanError, match="No process to read the files can be started"):
        predict_texts(["1"], worker_command=(sys.executable + "-missing",))
    assert not list(temporary_folder.iterdir())


def test_where_no_thread_can_start_it_is_an_error_that_leaves_no_process(
    predict_texts, temporary_folder, monkeypatch
):
    ended, wait = [], SpawnedProcess.wait
    monkeypatch.setattr(SpawnedProcess, "wait", lambda self, timeout: ended.append(wait(self, timeout)))

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(DigitscanError, match="No process to read the files can be started"):
        predict_texts(["1"])
    assert ended and not list(temporary_folder.iterdir())


def test_few_small_files_start_one_process_and_many_or_large_ones_more(make_files, stub_model, stub_command):
    large = "1" + " " * 500_000
    for texts, expected in ((["1"] * 10, 1), (["1"] * 600, 3), ([large] * 10, 2)):
        config = ScanConfig(workers=max(2, expected))
        with Scheduler(make_files(texts), stub_model, config, ProcessFactory(stub_command)) as scheduler:
            next(scheduler.batches())
            assert len(scheduler.worker_pids) == expected


def test_a_name_that_is_not_utf8_has_a_note(stub_model, stub_command, tmp_path):
    (tmp_path / "a").write_text("7")
    files = [ImageFile(str(tmp_path / "a"), r"\xff", ("name is not UTF-8",))]
    (row,) = predict(files, stub_model, ScanConfig(), ProcessFactory(stub_command))
    assert (row.digit, row.note) == (7, "name is not UTF-8")
