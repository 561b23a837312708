"""The command as its users run it: streams, files, exit codes, signals."""

import csv
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from digitscan.scanning.output.csv_format import read_csv
from tests.support.command import PACKAGE_FOLDER
from tests.support.pictures import digit_picture

HEADER = b"path,digit,confidence,status,note\n"


@pytest.fixture
def folder(tmp_path):
    """A folder of three digits, one file that is no image, and one that is none of our business."""
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    digit_picture().save(images / "1.png")
    digit_picture(28).save(images / "2.jpg")
    digit_picture(200).save(images / "sub" / "3.webp")
    (images / "readme.txt").write_text("not an image")
    return images


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_a_pipe_gets_the_csv_and_nothing_else(folder, run_command):
    done = run_command("scan", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(HEADER)
    rows = rows_of(done.stdout)
    assert [row["path"] for row in rows] == ["1.png", "2.jpg", "sub/3.webp"]
    assert {row["digit"] for row in rows} == {"7"}
    words = done.stderr.decode()
    assert "-o FILE" in words and "Read by cnn" in words and "1 (no image)" in words
    assert os.listdir(folder.parent) == ["images"]


def test_without_a_pipe_the_next_free_predictions_csv_is_written(folder, run_command):
    for name in ("predictions.csv", "predictions-2.csv", "predictions-3.csv"):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "digitscan", "scan", str(folder)],
            cwd=folder.parent,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert name.encode() in done.stderr
        assert len(list(read_csv(folder.parent / name))) == 3


def test_a_named_file_is_never_overwritten_unasked(folder, run_command, tmp_path):
    (tmp_path / "mine.csv").write_text("precious")
    done = run_command("scan", folder, "-o", "mine.csv", cwd=tmp_path)
    assert done.returncode == 6
    assert done.stderr.decode() == (
        "digitscan: mine.csv exists already: add --resume to go on with it, --overwrite to replace it, "
        "or name another file\n"
    )
    assert (tmp_path / "mine.csv").read_text() == "precious"
    done = run_command("scan", folder, "-o", "mine.csv", "--overwrite", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert len(list(read_csv(tmp_path / "mine.csv"))) == 3


def test_a_file_that_cannot_be_read_is_a_row_and_exit_code_3(folder, run_command):
    (folder / "1a.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "9.png").write_text("I am a text")
    done = run_command("scan", folder, cwd=folder.parent)
    assert done.returncode == 3
    rows = rows_of(done.stdout)
    assert [(row["path"], row["status"]) for row in rows][1:3] == [("1a.png", "error"), ("2.jpg", "ok")]
    assert rows[3]["note"] == "not an image: text"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["scan", "missing"], 2, "'missing': does not exist"),
        (["scan", "images", "--workers", "0"], 2, "--workers"),
        (["scan", "images", "--max-megapixels", "nan"], 2, "a finite number is needed"),
        (["scan", "images", "--max-megapixels", "inf"], 2, "a finite number is needed"),
        (["scan", "images", "--timeout", "nan"], 2, "a finite number is needed"),
        (["scan", "images", "--min-confidence", "nan"], 2, "a finite number is needed"),
        (["scan"], 2, "PATHS"),
        (["unknown"], 2, "unknown"),
        (["scan", "empty"], 4, "No images found in 'empty'"),
        (["scan", "empty/notes.md"], 3, ""),
        (["scan", "images", "--model", "nothing.h5"], 5, "nothing.h5"),
        (["scan", "images", "-o", "nowhere/a.csv"], 6, "folder nowhere does not exist"),
        (["scan", "images", "-o", "images"], 6, "is a folder"),
    ],
)
def test_each_mistake_has_its_exit_code_and_one_sentence(
    folder, run_command, tmp_path, arguments, code, words
):
    import re

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.md").write_text("no image")
    before = sorted(os.listdir(tmp_path))
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert re.search(words, done.stderr.decode())
    assert b"Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_quiet_says_nothing(folder, run_command):
    done = run_command("scan", folder, "--quiet", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_same_bytes_come_out_for_any_number_of_workers_and_batch_size(folder, run_command):
    """More files than a second process is worth, some of which the quick network leaves to the CNN."""
    for number in range(300):
        digit_picture(20 + number).rotate(number, fillcolor=255).save(folder / f"r{number}.png")
    runs = [("1", "256"), ("3", "64"), ("2", "1"), ("1", "7")]
    outputs = {
        run_command(
            "scan", folder, "--probabilities", "--workers", workers, "--batch-size", size, cwd=folder.parent
        ).stdout
        for workers, size in runs
    }
    assert len(outputs) == 1
    assert len(rows_of(outputs.pop())) == 303


def test_any_number_of_megapixels_may_be_allowed(folder, run_command):
    done = run_command("scan", folder, "--max-megapixels", "1e300", cwd=folder.parent)
    assert done.returncode == 0, done.stderr


def test_the_output_in_the_scanned_folder_is_not_an_input(folder, run_command):
    for _ in range(2):
        done = run_command("scan", folder, "-o", "images/out.csv", "--overwrite", cwd=folder.parent)
        assert done.returncode == 0, done.stderr
    assert len(list(read_csv(folder / "out.csv"))) == 3


@pytest.mark.parametrize("words", [["images"], ["missing"], ["images", "--model", "none.h5"], ["--wrong"]])
def test_no_process_is_left_behind_however_a_scan_ends(folder, words):
    """Not even the one that is started before the words are looked at."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "digitscan", "scan", *words],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.wait()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_version_is_one_line(run_command, tmp_path):
    assert run_command("--version", cwd=tmp_path).stdout.strip() == b"digitscan 0.1.0"


def test_models_are_listed_on_stdout(run_command, tmp_path):
    done = run_command("models", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"cnn" in done.stdout and b"mlp" in done.stdout


def test_a_folder_of_traps_in_the_current_folder_is_not_imported(folder, run_command, tmp_path):
    for module in ("json", "numpy", "cv2", "digitscan"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('I was imported')")
    done = run_command("scan", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_reads_files_imports_nothing_from_the_current_folder_even_where_python_would(folder, tmp_path):
    for module in ("numpy", "cv2", "ai_edge_litert"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('I was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "digitscan", "scan", folder],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert {row["digit"] for row in rows_of(done.stdout)} == {"7"}


if os.name == "posix":

    def start(*arguments, cwd, **more):
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "digitscan", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            stderr=subprocess.PIPE,
            # As a terminal starts it: a shell's background jobs, and so their children, ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **more,
        )

    def test_a_reader_that_closes_the_pipe_early_ends_it_quietly(folder):
        process = start("scan", *["1.png"] * 3000, cwd=folder, stdout=subprocess.PIPE)
        assert process.stdout.readline() == HEADER
        process.stdout.close()
        words = process.stderr.read().decode()
        assert process.wait(60) == 0
        assert "Traceback" not in words and "rror" not in words

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_ends_it_at_once_with_whole_rows_and_no_stray_process(folder, number, code):
        output = folder.parent / "out.csv"
        process = start("scan", *["1.png"] * 30000, "-o", output, cwd=folder)
        while not output.exists() or output.stat().st_size < 2000:
            time.sleep(0.01)
        workers = children_of(process.pid)
        process.send_signal(number)
        sent = time.monotonic()
        words = process.stderr.read().decode()
        assert process.wait(60) == code
        assert time.monotonic() - sent < 5
        assert "Traceback" not in words and "rows are written: " in words
        rows = list(read_csv(output))
        assert 0 < len(rows) < 30000 and {row.digit for row in rows} == {7}
        assert workers and not any(map(is_alive, workers))

    def children_of(number):
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [int(child) for child, parent in pairs if int(parent) == number]

    def test_whoever_ignores_the_end_of_children_gets_the_same(folder):
        process = subprocess.run(
            [sys.executable, "-P", "-m", "digitscan", "scan", folder],
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            capture_output=True,
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        )
        assert process.returncode == 0, process.stderr
        assert len(rows_of(process.stdout)) == 3

    @pytest.mark.parametrize("room", [10, 1000])
    def test_a_full_disk_takes_nothing_of_what_rows_are_appended_to(folder, room):
        """A limit on the size of files stands for the full disk."""
        import resource

        before = b"what stood there\n"
        output = folder.parent / "all.csv"
        output.write_bytes(before)
        # As a shell does it: Python's own "ab" would begin at the end.
        with open(os.open(output, os.O_WRONLY | os.O_APPEND), "wb") as appended:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "digitscan", "scan", *["1.png"] * 300],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
                stdout=appended,
                stderr=subprocess.PIPE,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, [len(before) + room] * 2),
            )
        assert done.returncode == 6, done.stderr
        data = output.read_bytes()
        assert data.startswith(before) and data.endswith(b"\n")
        assert data.removeprefix(before).startswith(HEADER if room > len(HEADER) else b"")

    def test_a_killed_supervisor_leaves_no_worker_behind(folder):
        output = folder.parent / "out.csv"
        process = start("scan", *["1.png"] * 30000, "-o", output, cwd=folder)
        while not output.exists() or output.stat().st_size < 2000:
            time.sleep(0.01)
        (fork_server,) = children_of(process.pid)
        workers = [fork_server, *children_of(fork_server)]
        assert len(workers) > 1
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while children := [w for w in workers if is_alive(w)]:
            assert time.monotonic() < deadline, children
            time.sleep(0.02)

    def is_alive(number):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True)
        return bool(state.stdout.strip()) and not state.stdout.startswith("Z")

    def test_names_with_newline_formula_markup_and_no_utf8_come_back_and_obey_nobody(run_command, tmp_path):
        names = ["=1+1.png", "a\nb.png", "[red]c.png", "\x1b[2Jd.png", "'e.png", "Größe ٣.png"]
        images = tmp_path / "images"
        images.mkdir()
        for name in names:
            (images / name).write_bytes(b"")
        with open(os.path.join(os.fsencode(images), b"\xff\\f.png"), "wb"):
            pass
        done = run_command("scan", images, "-o", "out.csv", cwd=tmp_path)
        assert done.returncode == 3
        rows = {row.path: row.note for row in read_csv(tmp_path / "out.csv")}
        assert rows.pop(r"\xff\\f.png") == "empty file; name is not UTF-8"
        assert set(rows) == set(names)
        assert "\x1b" not in done.stderr.decode()
        assert not any(line.startswith(b"=") for line in (tmp_path / "out.csv").read_bytes().splitlines())

    @pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
    def test_closed_streams_are_fine(folder, closed):
        command = f'"$0" -P -m digitscan scan images -o out.csv --overwrite {closed}'
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)}
        done = subprocess.run(
            ["sh", "-c", command, sys.executable], cwd=folder.parent, env=environment, timeout=60
        )
        assert done.returncode == 0
        assert len(list(read_csv(folder.parent / "out.csv"))) == 3
