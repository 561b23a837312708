"""The command as its users run it: streams, files, exit codes, signals."""

import csv
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from digitscan.scanning.output.csv_format import CsvReader
from tests.support.command import environment, run, run_shell, start
from tests.support.pictures import digit_picture, make_many_pictures

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


def parse_rows(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_a_pipe_gets_the_csv_and_nothing_else(folder):
    done = run("scan", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(HEADER)
    rows = parse_rows(done.stdout)
    assert [row["path"] for row in rows] == ["1.png", "2.jpg", "sub/3.webp"]
    assert {row["digit"] for row in rows} == {"7"}
    messages = done.stderr.decode()
    assert "-o FILE" in messages and "Read by cnn" in messages and "1 (no image)" in messages
    assert os.listdir(folder.parent) == ["images"]


def test_without_a_pipe_the_next_free_predictions_csv_is_written(folder):
    for name in ("predictions.csv", "predictions-2.csv", "predictions-3.csv"):
        done = run("scan", folder, cwd=folder.parent, stdout=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert name.encode() in done.stderr
        assert len(list(CsvReader(folder.parent / name))) == 3


def test_a_named_file_is_never_overwritten_unasked(folder, tmp_path):
    (tmp_path / "mine.csv").write_text("precious")
    done = run("scan", folder, "-o", "mine.csv", cwd=tmp_path)
    assert done.returncode == 6
    assert done.stderr.decode() == (
        "digitscan: mine.csv exists already: add --resume to continue it, --overwrite to replace it, "
        "or name another file\n"
    )
    assert (tmp_path / "mine.csv").read_text() == "precious"
    done = run("scan", folder, "-o", "mine.csv", "--overwrite", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert len(list(CsvReader(tmp_path / "mine.csv"))) == 3


def test_a_file_that_cannot_be_read_is_a_row_and_exit_code_3(folder):
    (folder / "1a.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "9.png").write_text("I am a text")
    done = run("scan", folder, cwd=folder.parent)
    assert done.returncode == 3
    rows = parse_rows(done.stdout)
    assert [(row["path"], row["status"]) for row in rows][1:3] == [("1a.png", "error"), ("2.jpg", "ok")]
    assert rows[3]["note"] == "not an image: text"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["scan", "missing"], 2, "'missing': does not exist"),
        (["scan", ""], 2, "the path is empty"),
        (["scan", "images", "--workers", "0"], 2, "--workers"),
        (["scan", "images", "--max-megapixels", "nan"], 2, "a finite number is needed"),
        (["scan", "images", "--max-megapixels", "inf"], 2, "a finite number is needed"),
        (["scan", "images", "--timeout", "nan"], 2, "a finite number is needed"),
        (["scan", "images", "--min-confidence", "nan"], 2, "a finite number is needed"),
        (["scan", "images", "--batch-size", "64"], 2, "this option is called --chunk-size now"),
        (["train", "--arch", "quick"], 2, "this network is called cnn-fast now"),
        (["train", "--arch", "mlp", "--pens", "pens.npz"], 2, "leave out --pens, or train cnn"),
        (
            ["train", "-o", "a.h5", "--pens", "empty/notes.md"],
            7,
            "empty/notes.md is not an .npz file: expected an .npz file of",
        ),
        (["train", "--arch", "vgg"], 2, "'vgg' is not one of cnn, mlp, cnn-fast"),
        (["scan", "images", "--overwrite", "--resume"], 2, "choose one"),
        (["scan"], 2, "PATHS"),
        (["unknown"], 2, "unknown"),
        (["images"], 2, "'images' is no command: did you mean `digitscan scan images`?"),
        (["empty/notes.md", "-q"], 2, "did you mean `digitscan scan empty/notes.md -q`?"),
        (["scan", "empty"], 4, "No images found in 'empty'; skipped 1 (no image). Name"),
        (["scan", "images", "--exclude", "*"], 4, "; skipped 4 (3 excluded files, 1 excluded folder). Name"),
        (["scan", "images", "--exclude", "[z-a]"], 2, "'[z-a]' is not a pattern"),
        (["scan", "--files-from", "missing.txt"], 2, "'missing.txt' cannot be read: No such file"),
        (["scan", "-0", "images"], 2, "name the list with --files-from"),
        (["scan", "images", "-o", "rows.xlsx"], 2, "rows.xlsx would hold CSV under the name of another"),
        (["scan", "empty/notes.md"], 3, ""),
        (["scan", "images", "--model", "nothing.h5"], 5, "nothing.h5"),
        (["scan", "images", "-o", "nowhere/a.csv"], 6, "folder nowhere does not exist"),
        (["scan", "images", "-o", "images"], 6, "is a folder"),
    ],
)
def test_each_mistake_has_its_exit_code_and_one_sentence(folder, tmp_path, arguments, exit_code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.md").write_text("no image")
    before = sorted(os.listdir(tmp_path))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == exit_code, done.stderr
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_a_quiet_scan_prints_nothing(folder, option):
    done = run("scan", folder, option, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_same_bytes_come_out_for_any_number_of_workers_and_chunk_size(folder):
    """More files than a second process is worth, some of which the fast model leaves to the CNN."""
    for index in range(300):
        digit_picture(20 + index).rotate(index, fillcolor=255).save(folder / f"r{index}.png")
    runs = [("1", "256"), ("3", "64"), ("2", "1"), ("1", "7")]
    outputs = {
        run(
            "scan", folder, "--probabilities", "--workers", workers, "--chunk-size", size, cwd=folder.parent
        ).stdout
        for workers, size in runs
    }
    assert len(outputs) == 1
    assert len(parse_rows(outputs.pop())) == 303


def test_any_number_of_megapixels_may_be_allowed(folder):
    done = run("scan", folder, "--max-megapixels", "1e300", cwd=folder.parent)
    assert done.returncode == 0, done.stderr


def test_the_output_in_the_scanned_folder_is_not_an_input(folder):
    for _ in range(2):
        done = run("scan", folder, "-o", "images/out.csv", "--overwrite", cwd=folder.parent)
        assert done.returncode == 0, done.stderr
    assert len(list(CsvReader(folder / "out.csv"))) == 3


@pytest.mark.parametrize(
    "arguments", [["images"], ["missing"], ["images", "--model", "none.h5"], ["--wrong"]]
)
def test_no_process_is_left_behind_however_a_scan_ends(folder, arguments):
    """Not even the fork server, which starts before the arguments are parsed."""
    process = start(
        "scan",
        *arguments,
        cwd=folder.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.wait()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_list_of_files_comes_from_a_pipe_and_a_file_that_is_gone_is_an_error(folder):
    names = b"images/2.jpg\0images/gone.png\0./images/2.jpg\0images/sub\0"
    done = run("scan", "--files-from", "-", "-0", "-o", "-", cwd=folder.parent, input=names)
    assert done.returncode == 3, done.stderr
    rows = [(row["path"], row["status"], row["note"]) for row in parse_rows(done.stdout)]
    assert rows == [
        ("images/2.jpg", "ok", ""),
        ("images/gone.png", "error", "no longer there"),
        ("images/sub/3.webp", "ok", ""),
    ]


def test_what_is_skipped_is_counted_and_named_on_demand_without_control_characters(folder):
    (folder / ".hid\nden.png").write_bytes(b"")
    (folder / "__MACOSX").mkdir()
    done = run("scan", folder, "--exclude", "sub/", "--list-skipped", "-o", "-", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in parse_rows(done.stdout)] == ["1.png", "2.jpg"]
    messages = done.stderr.decode()
    assert [line for line in messages.splitlines() if line.startswith("skipped: ")] == [
        "skipped: sub (excluded folder)",
        r"skipped: .hid\nden.png (hidden file)",
        "skipped: __MACOSX (system folder)",
        "skipped: readme.txt (no image)",
    ]
    assert "4 (1 " in messages
    done = run("scan", folder, "--include", "*.webp", "--quiet", cwd=folder.parent)
    assert [row["path"] for row in parse_rows(done.stdout)] == ["sub/3.webp"]


def test_rows_that_the_shell_keeps_in_a_file_are_not_said_to_need_one(folder):
    with (folder.parent / "red.csv").open("wb") as file:
        done = run("scan", folder, cwd=folder.parent, stdout=file)
    assert done.returncode == 0 and b"-o FILE" not in done.stderr
    assert len(list(CsvReader(folder.parent / "red.csv"))) == 3


def test_the_help_names_what_model_accepts(tmp_path):
    text = " ".join(run("scan", "--help", cwd=tmp_path).stdout.decode().split())
    described = text.partition("--model NAME|PATH")[2].partition("[default")[0]
    assert all(word in described for word in ("cnn", "mlp", ".h5"))


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_one_line(tmp_path, option):
    assert run(option, cwd=tmp_path).stdout.strip() == b"digitscan 0.1.0"


def test_models_are_listed_on_stdout(tmp_path):
    done = run("models", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"cnn" in done.stdout and b"mlp" in done.stdout


def test_modules_in_the_current_folder_are_not_imported(folder, tmp_path):
    for module in ("json", "numpy", "cv2", "digitscan"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('I was imported')")
    done = run("scan", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_workers_import_no_module_of_the_current_folder_even_if_python_would(folder, tmp_path):
    for module in ("numpy", "cv2", "ai_edge_litert"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('I was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "digitscan", "scan", folder],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert {row["digit"] for row in parse_rows(done.stdout)} == {"7"}


if os.name == "posix":

    def test_a_reader_that_closes_the_pipe_early_ends_a_scan_quietly(tmp_path):
        process = start("scan", make_many_pictures(tmp_path / "many", 3000), stdout=subprocess.PIPE)
        assert process.stdout.readline() == HEADER
        process.stdout.close()
        messages = process.stderr.read().decode()
        assert process.wait(60) == 0
        assert "Traceback" not in messages and "rror" not in messages

    @pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_ends_a_scan_at_once_with_whole_rows_and_no_stray_process(tmp_path, signum, exit_code):
        output = tmp_path / "out.csv"
        process = start("scan", make_many_pictures(tmp_path / "many", 30000), "-o", output)
        while not output.exists() or output.stat().st_size < 2000:
            time.sleep(0.01)
        workers = children_of(process.pid)
        process.send_signal(signum)
        sent = time.monotonic()
        messages = process.stderr.read().decode()
        assert process.wait(60) == exit_code
        assert time.monotonic() - sent < 5
        assert "Traceback" not in messages and "rows are written: " in messages
        rows = list(CsvReader(output))
        assert 0 < len(rows) < 30000 and {row.digit for row in rows} == {7}
        assert workers and not any(map(is_alive, workers))

    def children_of(pid):
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [int(child) for child, parent in pairs if int(parent) == pid]

    def test_a_caller_that_ignores_sigchld_gets_the_same_rows(folder):
        process = run("scan", folder, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        assert process.returncode == 0, process.stderr
        assert len(parse_rows(process.stdout)) == 3

    @pytest.mark.parametrize("free_bytes", [10, 1000])
    def test_a_full_disk_removes_nothing_from_a_file_that_rows_are_appended_to(tmp_path, free_bytes):
        """A limit on the size of files stands for the full disk."""
        import resource

        before = b"an old row\n"
        pictures = make_many_pictures(tmp_path / "many", 300)
        output = tmp_path / "all.csv"
        output.write_bytes(before)
        # As a shell opens it: Python's own "ab" seeks to the end first.
        with open(os.open(output, os.O_WRONLY | os.O_APPEND), "wb") as appended:
            done = run(
                "scan",
                pictures,
                stdout=appended,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, [len(before) + free_bytes] * 2),
            )
        assert done.returncode == 6, done.stderr
        data = output.read_bytes()
        assert data.startswith(before) and data.endswith(b"\n")
        assert data.removeprefix(before).startswith(HEADER if free_bytes > len(HEADER) else b"")

    def test_a_killed_supervisor_leaves_no_worker_behind(tmp_path):
        output = tmp_path / "out.csv"
        process = start("scan", make_many_pictures(tmp_path / "many", 30000), "-o", output)
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

    def is_alive(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        return bool(state.stdout.strip()) and not state.stdout.startswith("Z")

    def test_hostile_names_come_back_exactly_and_are_never_obeyed(tmp_path):
        names = ["=1+1.png", "a\nb.png", "[red]c.png", "\x1b[2Jd.png", "'e.png", "Größe ٣.png"]
        images = tmp_path / "images"
        images.mkdir()
        for name in names:
            (images / name).write_bytes(b"")
        with open(os.path.join(os.fsencode(images), b"\xff\\f.png"), "wb"):
            pass
        done = run("scan", images, "-o", "out.csv", cwd=tmp_path)
        assert done.returncode == 3
        rows = {row.path: row.note for row in CsvReader(tmp_path / "out.csv")}
        assert rows.pop(r"\xff\\f.png") == "empty file; name is not UTF-8"
        assert set(rows) == set(names)
        assert "\x1b" not in done.stderr.decode()
        assert not any(line.startswith(b"=") for line in (tmp_path / "out.csv").read_bytes().splitlines())

    @pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
    def test_a_scan_works_with_closed_standard_streams(folder, closed):
        done = run_shell(f"digitscan scan images -o out.csv --overwrite {closed}", cwd=folder.parent)
        assert done.returncode == 0
        assert len(list(CsvReader(folder.parent / "out.csv"))) == 3
