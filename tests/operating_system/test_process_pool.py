"""A pool of processes runs functions safely: from any folder, whoever dies, and none is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from digitscan.system import child_python
from digitscan.system.process_pool import MAX_ATTEMPTS, PoolError, ProcessPool
from tests.support.command import environment

TRAPS = ("multiprocessing", "pickle", "queue", "json", "random")


def is_running(pid):
    """Whether a process is left; one that only waits to be reaped by its parent is not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_back_and_errors_are_raised():
    with ProcessPool(2) as pool:
        futures = [pool.submit(pow, base, 2) for base in range(20)]
        failure = pool.submit(int, "x")
        assert [future.result() for future in futures] == [base**2 for base in range(20)]
        with pytest.raises(ValueError, match="invalid literal for int"):
            failure.result()
        assert len(pool.pids) == 2
    assert pool.pids == []


def test_the_initializer_runs_in_each_process_before_its_tasks():
    with ProcessPool(1, os.putenv, ("DIGITSCAN_TEST", "1")) as pool:
        assert pool.submit(subprocess.getoutput, "echo $DIGITSCAN_TEST").result() == "1"


def test_what_cannot_be_pickled_is_an_error_and_the_pool_goes_on():
    with ProcessPool(1) as pool:
        with pytest.raises(Exception, match="pickle"):
            pool.submit(lambda: None).result(timeout=30)
        with pytest.raises(Exception, match="pickle"):
            pool.submit(open, os.devnull).result(timeout=30)
        assert pool.submit(abs, -1).result(timeout=30) == 1


def test_no_process_imports_from_the_current_folder(tmp_path, monkeypatch):
    """Neither its own modules, nor those of a Python that it starts."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text("open('trap', 'w')")
    monkeypatch.chdir(tmp_path)
    with ProcessPool(1) as pool:
        assert pool.submit(subprocess.call, [sys.executable, "-c", "import random"]).result() == 0
    assert not (tmp_path / "trap").exists()


def test_what_a_task_prints_does_not_disturb_the_results(capfd):
    with ProcessPool(1) as pool:
        assert pool.submit(os.system, "echo noise").result() == 0
    assert capfd.readouterr().err == "noise\n"


def test_a_task_whose_process_is_killed_runs_again(tmp_path):
    with ProcessPool(1) as pool:
        future = pool.submit(subprocess.call, ["sh", "-c", f"echo >> {tmp_path}/tries; sleep 1"])
        while not (tmp_path / "tries").exists():
            time.sleep(0.01)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        assert future.result(timeout=60) == 0
        assert (tmp_path / "tries").read_text() == "\n\n"


def test_a_task_that_ends_every_process_is_an_error_and_the_next_task_runs():
    with ProcessPool(1) as pool:
        with pytest.raises(PoolError, match="a process ended with code 3"):
            pool.submit(os._exit, 3).result(timeout=60)
        assert pool.submit(abs, -1).result(timeout=60) == 1


@pytest.mark.parametrize("script", ["exit 9", "exec missing", "cat > /dev/null & exec sleep 0"])
def test_processes_that_end_while_they_start_are_an_error(script, tmp_path, monkeypatch):
    """Nobody waits for them for ever."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho >> {tmp_path}/starts\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(child_python.sys, "executable", str(python))
    with ProcessPool(1, abs, (-1,)) as pool, pytest.raises(PoolError, match="process ended with code"):
        pool.submit(abs, -1).result(timeout=60)
    assert len((tmp_path / "starts").read_text()) == MAX_ATTEMPTS


def test_processes_that_cannot_be_started_are_an_error(monkeypatch):
    monkeypatch.setattr(child_python.sys, "executable", "/missing/python")
    with ProcessPool(1) as pool, pytest.raises(PoolError, match="no process can be started"):
        pool.submit(abs, -1).result(timeout=60)


def test_closing_ends_tasks_at_once():
    pool = ProcessPool(1)
    running, waiting = pool.submit(time.sleep, 600), pool.submit(time.sleep, 600)
    while not pool.pids:
        time.sleep(0.01)
    (pid,) = pool.pids
    pool.close()
    assert isinstance(running.exception(), PoolError)
    assert waiting.cancelled()
    assert not is_running(pid)


def test_no_process_outlives_a_parent_that_was_killed():
    """Neither one of a pool in the middle of a task, nor one that watches its parent."""
    code = (
        "import subprocess, sys, time\n"
        "from digitscan.system.child_python import python_command\n"
        "from digitscan.system.process_pool import ProcessPool\n"
        "watching = 'import time; from digitscan.system.child_python import exit_with_parent as watch\\n"
        "watch(); print(1, flush=True); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-P', '-c', watching], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "pool = ProcessPool(1)\n"
        "pool.submit(abs, -1).result()\n"
        "pool.submit(time.sleep, 600)\n"
        "print(child.pid, *pool.pids, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, env=environment(), text=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))
