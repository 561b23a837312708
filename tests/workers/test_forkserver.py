"""Workers are forked from a process that has loaded the libraries; where that is gone, spawned. Linux."""

import contextlib
import errno
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from digitscan.model.registry import load_model
from digitscan.prediction import ImageFile
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.scheduler import Scheduler, predict
from digitscan.workers.forkserver import ForkServer, early_fork_server, take_fork_server
from digitscan.workers.supervisor import ProcessFactory, SpawnedProcess
from tests.support.pictures import digit_picture

if sys.platform == "linux":

    @pytest.fixture
    def files(tmp_path):
        """600 files: one picture and one empty file, in turn."""
        digit_picture(28).save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"")
        return [
            ImageFile(str(tmp_path / name), f"{index}-{name}")
            for index in range(300)
            for name in ("a.png", "b.png")
        ]

    @pytest.fixture
    def two_workers(files, process_factory):
        """A scheduler with two workers that has returned its first rows, and these rows."""
        config = ScanConfig(workers=2, chunk_size=8)
        with Scheduler(files, load_model("cnn"), config, process_factory) as scheduler:
            batches = scheduler.batches()
            yield scheduler, batches, next(batches)

    def parent_of(pid):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def is_running(pid):
        return Path(f"/proc/{pid}").exists()

    def test_workers_are_forked_from_one_process_and_all_are_gone_at_the_end(two_workers, process_factory):
        scheduler, _, _ = two_workers
        fork_server, workers = process_factory.fork_server_pid, scheduler.worker_pids
        assert len(workers) == 2
        assert {parent_of(pid) for pid in workers} == {fork_server}
        assert parent_of(fork_server) == os.getpid()
        scheduler.close()
        process_factory.close()
        assert not any(is_running(pid) for pid in (*workers, fork_server))

    @pytest.mark.parametrize("kill_fork_server", [False, True])
    def test_killed_workers_are_replaced_and_cost_no_row(
        files, two_workers, process_factory, kill_fork_server
    ):
        """Also if the fork server is killed with them."""
        scheduler, batches, rows = two_workers
        killed = scheduler.worker_pids
        for pid in (*([process_factory.fork_server_pid] if kill_fork_server else []), *killed):
            os.kill(pid, signal.SIGKILL)
        replacements = []
        for batch in batches:
            rows += batch
            replacements = scheduler.worker_pids
        assert rows == list(predict(files, load_model("cnn"), ScanConfig(), process_factory))
        assert replacements and not set(replacements) & set(killed)

    def test_workers_that_nobody_has_ended_end_with_the_fork_server():
        """An interrupted scan may have forked some that it does not know yet."""
        fork_server = ForkServer()
        process = fork_server.fork()
        assert parent_of(process.pid) == fork_server.pid
        fork_server.close()
        assert not is_running(process.pid)
        process.wait()

    def test_a_scan_makes_no_temporary_file(files, process_factory, tmp_path, monkeypatch):
        """So a killed scan leaves none, and a full disk for temporary files hinders none."""
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        with Scheduler(files, load_model("cnn"), ScanConfig(), process_factory) as scheduler:
            next(scheduler.batches())
            assert not list((tmp_path / "temporary").iterdir())

    def test_to_end_a_process_twice_ends_no_other(files):
        with contextlib.closing(ForkServer()) as fork_server:
            process = fork_server.fork()
            process.kill()
            process.wait()
            # The number of its pidfd is free now, and the next process gets it.
            other = fork_server.fork()
            process.kill()
            process.wait()
            assert is_running(other.pid)
            other.kill()
            other.wait()

    def test_a_file_that_the_caller_left_open_is_not_open_in_a_worker(tmp_path):
        with (tmp_path / "secret").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            with contextlib.closing(ForkServer()) as fork_server:
                process = fork_server.fork()
                open_files = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
                process.kill()
                process.wait()
        assert open_files and str(tmp_path / "secret") not in open_files

    def test_a_fork_server_that_was_started_early_is_taken_once():
        with early_fork_server():
            first = take_fork_server()
            second = take_fork_server()
            assert first.pid != second.pid
            first.close()
            second.close()

    def test_a_fork_server_that_was_started_early_and_not_taken_is_closed():
        def children():
            tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
            return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}

        before = children()
        with early_fork_server():
            (pid,) = children() - before
            assert is_running(pid)
        assert not is_running(pid)

    def test_where_no_more_can_be_started_those_that_were_go_on(files, process_factory, monkeypatch):
        """The first failure must not end the fork server, which would end its workers."""
        fork, forked = ForkServer.fork, []

        def fork_two(self):
            if len(forked) == 2:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            forked.append(fork(self))
            return forked[-1]

        monkeypatch.setattr(ForkServer, "fork", fork_two)
        config = ScanConfig(workers=8, chunk_size=8)
        with Scheduler(files, load_model("cnn"), config, process_factory) as scheduler:
            rows = [row for batch in scheduler.batches() for row in batch]
            assert scheduler.worker_pids == [process.pid for process in forked]
        assert [row.path for row in rows] == [file.name for file in files]

    def test_a_process_that_cannot_be_killed_is_left_behind():
        """One that waits in the kernel for a server that is gone: here, one that nobody kills."""
        with contextlib.closing(ForkServer()) as fork_server:
            forked = fork_server.fork()
            spawned = SpawnedProcess([sys.executable, "-c", "import time; time.sleep(60)"])
            start = time.monotonic()
            forked.wait(0.2)
            spawned.wait(0.2)
            assert 0.4 <= time.monotonic() - start < 5
            assert is_running(forked.pid) and is_running(spawned.pid)
            assert not os.path.exists(spawned.shared_path)
            spawned.kill()
            spawned.wait()

    def test_where_nothing_can_be_forked_workers_are_spawned(monkeypatch):
        def refuse(self):
            raise OSError("no more processes")

        monkeypatch.setattr(ForkServer, "fork", refuse)
        process_factory = ProcessFactory()
        process = process_factory.start()
        assert isinstance(process, SpawnedProcess)
        process.kill()
        process.wait()
        process_factory.close()
