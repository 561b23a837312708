"""Processes that are forked from one that has loaded everything: who forks, and what if it is gone. Linux."""

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from digitscan.model.registry import load_model
from digitscan.prediction import ImageFile
from digitscan.scanning.scheduler import ScanOptions, predict_in_batches, scan
from digitscan.workers import forkserver as fork_server
from digitscan.workers.forkserver import ForkServer, early_fork_server, take_fork_server
from digitscan.workers.supervisor import ProcessFactory, SpawnedProcess
from tests.support.pictures import digit_picture

if sys.platform == "linux":

    @pytest.fixture
    def found(tmp_path):
        digit_picture(28).save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"")
        return [
            ImageFile(str(tmp_path / name), f"{number}-{name}")
            for number in range(300)
            for name in ("a.png", "b.png")
        ]

    @pytest.fixture
    def rows(found):
        return list(scan(found, load_model("cnn")))

    def parent_of(number):
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])

    def inside(batches):
        """What a running scan has: its nursery, and the numbers of its workers."""
        run = batches.gi_frame.f_locals["run"]
        return run._process_factory._fork_server, [worker._process.number for worker in run._workers]

    def test_workers_are_forked_from_one_process_and_all_are_gone_at_the_end(found):
        batches = predict_in_batches(found, load_model("cnn"), ScanOptions(workers=2, batch_size=8))
        with contextlib.closing(batches):
            next(batches)
            forker, workers = inside(batches)
            assert len(workers) == 2
            assert {parent_of(number) for number in workers} == {forker.number}
            assert parent_of(forker.number) == os.getpid()
        for number in (*workers, forker.number):
            assert not Path(f"/proc/{number}").exists()

    @pytest.mark.parametrize("with_nursery", [False, True])
    def test_killed_workers_are_replaced_and_cost_no_row(found, rows, with_nursery):
        """Also where the process that forks is killed with them."""
        batches = predict_in_batches(found, load_model("cnn"), ScanOptions(workers=2, batch_size=8))
        with contextlib.closing(batches):
            got = next(batches)
            forker, workers = inside(batches)
            for number in (*([forker.number] if with_nursery else []), *workers):
                os.kill(number, signal.SIGKILL)
            for more in batches:
                got += more
                others = inside(batches)[1]
        assert got == rows
        assert others and not set(others) & set(workers)

    def test_workers_that_nobody_has_ended_end_with_the_nursery():
        """As those do that an interrupted scan has started and does not know yet."""
        forker = ForkServer()
        process = forker.fork()
        assert parent_of(process.number) == forker.number
        forker.close()
        assert not Path(f"/proc/{process.number}").exists()
        process.wait()

    def test_a_scan_puts_no_file_beside_its_output(found, tmp_path, monkeypatch):
        """What is killed leaves no litter then, and a full or closed disk for such files hinders none."""
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        with contextlib.closing(predict_in_batches(found, load_model("cnn"))) as batches:
            next(batches)
            assert not list((tmp_path / "temporary").iterdir())

    def test_to_end_a_process_twice_ends_no_other(found):
        with contextlib.closing(ForkServer()) as forker:
            process = forker.fork()
            process.kill()
            process.wait()
            # Its handle's number is free now, and another's at once.
            other = forker.fork()
            process.kill()
            process.wait()
            assert Path(f"/proc/{other.number}").exists()
            other.kill()
            other.wait()

    def test_what_others_left_open_is_not_open_in_a_worker(tmp_path):
        with (tmp_path / "secret").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            with contextlib.closing(ForkServer()) as forker:
                process = forker.fork()
                opened = [os.readlink(link) for link in Path(f"/proc/{process.number}/fd").iterdir()]
                process.kill()
                process.wait()
        assert opened and str(tmp_path / "secret") not in opened

    def test_one_that_was_begun_early_is_taken_once(found):
        with early_fork_server():
            early = take_fork_server()
            other = take_fork_server()
            assert early.number != other.number
            early.close()
            other.close()

    def test_one_that_was_begun_early_and_not_taken_is_closed():
        with early_fork_server():
            (early,) = fork_server._early
            assert Path(f"/proc/{early.number}").exists()
        assert not Path(f"/proc/{early.number}").exists()

    def test_where_none_can_fork_workers_are_spawned(monkeypatch):
        def refuse(self):
            raise OSError("no more processes")

        monkeypatch.setattr(ForkServer, "fork", refuse)
        process_factory = ProcessFactory()
        process = process_factory.start()
        assert isinstance(process, SpawnedProcess)
        process.kill()
        process.wait()
        process_factory.close()
