"""Damaged files, crafted files and folders full of traps, through whole scans: one row each, none lost."""

import csv
import ctypes
import io
import os
import resource
import signal
import socket
import sys
import time

import pytest

from digitscan.prediction import Status, path_to_text
from digitscan.scanning.output.csv_format import CsvReader
from tests.support.command import environment, run, run_shell, start
from tests.support.crafted_files import HOSTILE_NAMES, crafted_files, sparse_files
from tests.support.damaged_files import damaged_files, valid_files
from tests.support.outputs import file_of, files_of
from tests.support.pictures import digit_picture


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A folder of 420 damaged files, each beside a valid one, and a folder of the valid ones alone."""
    folder = tmp_path_factory.mktemp("damaged")
    for place in ("mixed", "valid"):
        (folder / place).mkdir()
    for (bad, bad_data), (good, good_data) in zip(damaged_files(1, 420), valid_files(1, 420), strict=True):
        (folder / "mixed" / bad).write_bytes(bad_data)
        for place in ("mixed", "valid"):
            (folder / place / good).write_bytes(good_data)
    return folder


def lines_by_name(path):
    return {line.split(b",")[0]: line for line in path.read_bytes().splitlines()[1:]}


def test_damaged_files_get_rows_and_do_not_change_those_of_their_neighbours(damaged):
    alone = run("scan", "valid", "-o", "valid.csv", "--probabilities", cwd=damaged)
    assert (alone.returncode, alone.stderr.count(b"failed")) == (0, 0)
    process = start(
        "scan", "mixed", "-o", "mixed.csv", "--probabilities", cwd=damaged, start_new_session=True
    )
    words = process.communicate(timeout=120)[1]
    assert process.returncode == 3
    assert b"Traceback" not in words and b"unexpected" not in words
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    rows = list(CsvReader(damaged / "mixed.csv"))
    # A damaged TIFF may seem to have one page more, which cannot be read.
    assert files_of(rows) == sorted(os.listdir(damaged / "mixed"))
    mixed, valid = lines_by_name(damaged / "mixed.csv"), lines_by_name(damaged / "valid.csv")
    assert len(valid) == 420 and {name: mixed[name] for name in valid} == valid
    errors = [row for row in rows if row.status is Status.ERROR]
    assert 200 < len(errors) < 420 and not any(row.path.encode() in valid for row in errors)
    assert all(row.note and row.note.isprintable() for row in errors)


def test_crafted_files_are_read_or_refused_for_the_right_reason(tmp_path):
    """Bombs, odd shapes and modes, many frames, huge EXIF: read, or refused for the right reason."""
    images = tmp_path / "images"
    images.mkdir()
    expected = {}
    for crafted in crafted_files():
        (images / crafted.name).write_bytes(crafted.data)
        expected[crafted.name] = (crafted.error, crafted.note)
    done = run("scan", images, "-o", "rows.csv", "--timeout", "60", cwd=tmp_path)
    assert done.returncode == 3 and b"Traceback" not in done.stderr
    rows = list(CsvReader(tmp_path / "rows.csv"))
    assert files_of(rows) == sorted(expected)
    assert sum(file_of(row) == "frames.tif" for row in rows) == 100
    for row in rows:
        error, notes = expected[file_of(row)]
        assert (row.status is Status.ERROR) == (error is not None), row
        assert row.note.startswith(error or "") and notes in row.note, row


@pytest.mark.parametrize(
    "rows",
    [b"\xe9 no text\n", b"path,\xff\n", b'"a"b,c\n', b"other,columns\n", b"path" + b"x" * 200_000 + b"\n"],
)
def test_a_csv_that_was_damaged_or_edited_is_not_continued(tmp_path, rows):
    digit_picture().save(tmp_path / "7.png")
    assert run("scan", "7.png", "-o", "rows.csv", cwd=tmp_path).returncode == 0
    (tmp_path / "rows.csv").write_bytes(rows)
    for how in ("--resume", "--retry-errors"):
        done = run("scan", "7.png", "-o", "rows.csv", how, cwd=tmp_path)
        assert done.returncode == 6
        assert done.stderr.startswith(b"digitscan: rows.csv: ") and done.stderr.count(b"\n") == 1
        assert (tmp_path / "rows.csv").read_bytes() == rows


@pytest.mark.parametrize("record", [b"[" * 200_000, b'{"a":' * 100_000, b"\xff", b"{}", b""])
def test_a_file_with_the_manifests_name_is_neither_believed_nor_replaced(tmp_path, record):
    digit_picture().save(tmp_path / "7.png")
    assert run("scan", "7.png", "-o", "rows.csv", cwd=tmp_path).returncode == 0
    (tmp_path / "rows.csv.json").write_bytes(record)
    for how, words in (("--resume", b"name another output"), ("--overwrite", b"rows.csv.json is in the way")):
        done = run("scan", "7.png", "-o", "rows.csv", how, cwd=tmp_path)
        assert done.returncode == 6
        assert words in done.stderr and done.stderr.count(b"\n") == 1
        assert (tmp_path / "rows.csv.json").read_bytes() == record


if sys.platform == "linux":

    def test_sparse_files_of_gigabytes_take_no_gigabytes_of_memory(tmp_path):
        """They take no room on the disk, so anyone can make and send them."""
        images = tmp_path / "images"
        images.mkdir()
        for name, head, size in sparse_files():
            with (images / name).open("wb") as file:
                file.write(head)
                file.truncate(size)
        digit_picture().save(images / "valid.png")
        done = run("scan", images, "-o", "rows.csv", "--timeout", "2", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        rows = {row.path: row.note for row in CsvReader(tmp_path / "rows.csv")}
        assert rows.pop("valid.png") == "" and len(rows) == 11
        assert not any("crashed" in note for note in rows.values()), rows
        assert rows["sparse.webp"] == "too large: not enough memory to decode it"
        kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert kilobytes < 5 << 20


if os.name == "posix":

    def without_privilege():
        """Let permissions count for this process though it may be root's (who is root elsewhere is not)."""
        if os.geteuid() == 0:
            drop_from_bounding_set, may_override, may_search = 24, 1, 2
            for power in (may_override, may_search):
                assert ctypes.CDLL(None).prctl(drop_from_bounding_set, power, 0, 0, 0) == 0

    @pytest.fixture
    def traps(tmp_path):
        """A folder in which hardly anything is what it seems."""
        folder = tmp_path / "traps"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).mkdir()
            digit_picture().save(folder / name / "same.png")
        (folder / "dead.png").symlink_to(folder / "nothing")
        (folder / "loop.png").symlink_to(folder / "loop.png")
        (folder / "to-folder.png").symlink_to(folder / "a")
        (folder / "circle").symlink_to(folder)
        os.mkfifo(folder / "pipe.png")
        with socket.socket(socket.AF_UNIX) as listening:
            before = os.getcwd()
            os.chdir(folder)  # a socket's path may have hardly more than 100 bytes
            listening.bind("socket.png")
            os.chdir(before)
        digit_picture().save(folder / "secret.png")
        digit_picture().save(folder / "secret", "PNG")
        for name in ("secret.png", "secret"):
            (folder / name).chmod(0)
        closed = folder / "[red]closed\x1b[31m"
        closed.mkdir()
        digit_picture().save(closed / "unseen.png")
        closed.chmod(0)
        (folder / "into-closed.png").symlink_to(closed / "unseen.png")
        (folder / "folder.png").mkdir()
        digit_picture().save(folder / "folder.png" / "7.png")
        yield folder
        closed.chmod(0o700)

    def test_each_trap_in_a_folder_gets_a_row_or_is_counted_with_its_reason(traps):
        done = run("scan", ".", cwd=traps, preexec_fn=without_privilege)
        assert done.returncode == 3
        rows = {row["path"]: row for row in csv.DictReader(io.StringIO(done.stdout.decode()))}
        assert list(rows) == [
            "dead.png", "into-closed.png", "loop.png", "secret", "secret.png",
            "a/same.png", "b/same.png", "folder.png/7.png",
        ]  # fmt: skip
        assert rows["dead.png"]["note"] == "no longer there"
        assert rows["loop.png"]["note"].startswith("cannot be opened: ")
        assert rows["secret"]["note"] == rows["secret.png"]["note"] == "no permission to read it"
        assert rows["into-closed.png"]["note"] == "no permission to read it"
        assert [rows[f"{name}/same.png"]["digit"] for name in "ab"] == ["7", "7"]
        words = " ".join(done.stderr.decode().split())
        assert "2 links to folders" in words and "2 pipes, sockets or devices" in words
        assert r"could not be opened: [red]closed\x1b[31m/" in words

    def test_pipes_sockets_and_devices_that_are_named_are_refused_without_waiting_for_them(traps):
        named = ["pipe.png", "socket.png", "/dev/null", "/dev/zero", "folder.png"]
        done = run("scan", *named, "--timeout", "5", cwd=traps)
        assert done.returncode == 3
        rows = {row["path"]: row for row in csv.DictReader(io.StringIO(done.stdout.decode()))}
        assert list(rows) == [*named[:4], "folder.png/7.png"]
        for name in ("pipe.png", "/dev/null", "/dev/zero"):
            assert rows[name]["note"] == "not a file: a pipe, socket or device"
        assert rows["socket.png"]["status"] == "error"

    def test_a_path_without_permission_is_named_in_the_error(traps):
        (closed,) = traps.glob("[[]red*")
        long = "n" * 300
        for words, code, said in (
            (["secret.png", "into-closed.png", "a"], 3, "2 no permission to read it"),
            ([closed], 4, "there is no permission to read"),
            ([long], 2, "File name too long"),
            (["a", "-o", long], 6, "File name too long"),
            (["a", "-o", f"{long}/rows.csv"], 6, "does not exist"),
            (["a", "-o", closed / "rows.csv"], 6, "Permission denied"),
            (["a", "-o", "into-closed.png", "--overwrite"], 6, "Permission denied"),
            (["a", "--model", closed / "digits.h5"], 5, "does not exist"),
            (["a", "--model", f"{long}.h5"], 5, "does not exist"),
        ):
            done = run("scan", *words, cwd=traps, preexec_fn=without_privilege)
            assert done.returncode == code, (words, done.stderr)
            assert said in done.stderr.decode() and b"Traceback" not in done.stderr

    def test_a_link_to_itself_that_is_named_gets_a_row_or_an_error(tmp_path):
        (tmp_path / "loop.png").symlink_to("loop.png")
        done = run("scan", "loop.png", cwd=tmp_path)
        assert done.returncode == 3 and b"loop.png,,,error,cannot be opened: " in done.stdout
        for how in ("--overwrite", "--resume"):
            done = run("scan", ".", "-o", "loop.png", how, cwd=tmp_path)
            assert done.returncode in (4, 6) and done.stderr.count(b"\n") == 1

    def test_a_models_folder_without_permission_does_not_stop_a_scan(traps):
        (traps / "models").mkdir(mode=0)
        done = run("scan", "a", cwd=traps, preexec_fn=without_privilege)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("options", [(), ("--raw",), ("--excel",)])
    def test_every_name_comes_back_exactly(tmp_path, options):
        images = tmp_path / "images"
        (images / "=sub,folder\n").mkdir(parents=True)
        for name in HOSTILE_NAMES:
            for folder in (b"", b"=sub,folder\n"):
                with open(os.path.join(os.fsencode(images), folder, name), "wb"):
                    pass
        done = run("scan", images, "-o", "rows.csv", *options, cwd=tmp_path)
        assert done.returncode == 3
        rows = list(CsvReader(tmp_path / "rows.csv", raw="--raw" in options))
        expected = [
            path_to_text(folder + name)[0]
            for folder in (b"", b"=sub,folder\n/")
            for name in sorted(HOSTILE_NAMES)
        ]
        assert [row.path for row in rows] == expected
        marked = sum("name is not UTF-8" in row.note for row in rows)
        assert marked == 2 * sum(not path_to_text(name)[1] for name in HOSTILE_NAMES)

    TO_OBEY = [name for name in HOSTILE_NAMES if b"[" in name or not path_to_text(name)[0].isprintable()]

    @pytest.mark.parametrize("name", TO_OBEY, ids=range(len(TO_OBEY)))
    def test_no_file_name_reaches_the_terminal_unescaped(tmp_path, name):
        """As a file that failed, as the output, as an output that exists, as a path that is not there."""
        as_folder = os.path.join(os.fsencode(tmp_path), b"./" + name.removesuffix(b".png"))
        os.mkdir(as_folder)
        with open(os.path.join(as_folder, name), "wb"):
            pass
        file, output = b"./" + name, b"./" + name[:200] + b".csv"
        for words, code in (
            ((as_folder, "-o", output), 3),
            ((as_folder, "-o", output), 6),
            ((file,), 2),
        ):
            done = run("scan", *map(os.fsdecode, words), cwd=tmp_path)
            assert done.returncode == code, done.stderr
            text = done.stderr.decode()
            assert all(letter.isprintable() or letter == "\n" for letter in text), done.stderr
            assert "Traceback" not in text

    def test_markup_in_a_name_is_shown_as_text(tmp_path):
        (tmp_path / "[red]x[").mkdir()
        (tmp_path / "[red]x[" / "red] [blink]y.png").touch()
        done = run("scan", ".", "-o", "[bold]z.csv", cwd=tmp_path, env=environment(COLUMNS="200"))
        assert b"[red]x[/red] [blink]y.png" in done.stderr and b"[bold]z.csv" in done.stderr

    def test_files_that_vanish_or_change_while_the_scan_runs_cost_only_their_own_rows(tmp_path):
        """The scan is stopped while it is at work, so that it meets a folder that is another one."""
        images = tmp_path / "images"
        images.mkdir()
        picture = images / "00000.png"
        digit_picture(28).save(picture)
        names = [f"{number:05d}.png" for number in range(12_000)]
        for name in names[1:]:
            os.link(picture, images / name)
        last = [images / name for name in names[-30:]]
        process = start(
            "scan", "images", "-o", "rows.csv", "--workers", "1", cwd=tmp_path, start_new_session=True
        )
        output = tmp_path / "rows.csv"
        while not output.exists() or output.stat().st_size < 100:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGSTOP)
        assert len(output.read_bytes().splitlines()) < 6000, "the scan was too quick for this test"
        for path in last:
            path.unlink()
        for path in last[10:20]:
            path.write_bytes(picture.read_bytes()[:60])
        for path in last[20:]:
            path.mkdir()
        os.killpg(process.pid, signal.SIGCONT)
        words = process.communicate(timeout=60)[1]
        assert process.returncode == 3 and b"Traceback" not in words
        rows = list(CsvReader(output))
        assert [row.path for row in rows] == names
        assert {row.digit for row in rows[:-30]} == {7}
        assert {row.note for row in rows[-30:-20]} == {"no longer there"}
        assert all(row.note.startswith(("truncated PNG", "damaged PNG")) for row in rows[-20:-10])
        assert {row.note for row in rows[-10:]} == {"not a file: a folder"}

    def test_a_tree_deeper_than_a_path_can_be_has_a_row_for_each_file(tmp_path):
        """The folders' names have 12,000 characters together, 4,096 are allowed. Then all is read again."""
        images, name = tmp_path / "images", "n" * 200
        images.mkdir()
        folder = os.open(images, os.O_RDONLY)
        for _ in range(60):
            os.mkdir(name, dir_fd=folder)
            inner = os.open(name, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = inner
            os.close(os.open("a.png", os.O_CREAT, dir_fd=folder))
        with open(os.open("b", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "wb") as file:
            digit_picture(28).save(file, "PNG")
        os.close(folder)
        done = run("scan", "images", "-o", "rows.csv", cwd=tmp_path)
        assert done.returncode == 3 and b"folder" not in done.stderr
        rows = list(CsvReader(tmp_path / "rows.csv"))
        assert [row.path for row in rows[:-1]] == [f"{name}/" * depth + "a.png" for depth in range(1, 61)]
        assert {row.note for row in rows[:-1]} == {"empty file"}
        assert (rows[-1].path, rows[-1].digit) == (f"{name}/" * 60 + "b", 7)
        before = (tmp_path / "rows.csv").read_bytes()
        assert run("scan", "images", "-o", "rows.csv", "--retry-errors", cwd=tmp_path).returncode == 3
        assert (tmp_path / "rows.csv").read_bytes() == before

    def test_more_workers_than_files_may_be_open_lose_no_row(tmp_path):
        digit_picture(28).save(tmp_path / "000.png")
        for number in range(1, 600):
            os.link(tmp_path / "000.png", tmp_path / f"{number:03d}.png")

        def limit_open_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))

        options = ("--workers", "200", "--chunk-size", "1")
        done = run("scan", ".", *options, cwd=tmp_path, preexec_fn=limit_open_files)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b",7,") == 600

    def test_a_current_folder_that_was_deleted_is_no_traceback(tmp_path):
        digit_picture(28).save(tmp_path / "7.png")
        script = "mkdir gone; cd gone; rmdir ../gone; digitscan scan . -o -; echo $?; digitscan scan $1 -o -"
        done = run_shell(script, tmp_path / "7.png", cwd=tmp_path)
        assert b"No images found in '.'" in done.stderr and b"Traceback" not in done.stderr
        code, header, row = done.stdout.decode().splitlines()
        assert (done.returncode, code) == (0, "4") and row.startswith(f"{tmp_path}/7.png,7,"), header

    def test_a_folder_that_vanishes_before_its_turn_is_reported(tmp_path):
        images = tmp_path / "images"
        (images / "sub").mkdir(parents=True)
        digit_picture(28).save(images / "00000.png")
        for number in range(1, 12_000):
            os.link(images / "00000.png", images / f"{number:05d}.png")
        process = start("scan", "images", "-o", "rows.csv", "--workers", "1", cwd=tmp_path)
        output = tmp_path / "rows.csv"
        while not output.exists() or output.stat().st_size < 100:
            time.sleep(0.005)
        (images / "sub").rmdir()
        words = process.communicate(timeout=60)[1]
        assert process.returncode == 3
        assert b"could not be opened: sub/" in words and b"Traceback" not in words
        assert len(list(CsvReader(output))) == 12_000

    @pytest.mark.parametrize("where", ["2>/dev/full", "2> >(true)", "2>&-"])
    def test_an_stderr_that_cannot_be_written_changes_no_row_and_no_exit_code(tmp_path, where):
        """A full disk under the log, a reader of it that has gone, none at all."""
        digit_picture().save(tmp_path / "7.png")
        (tmp_path / "8.png").touch()
        script = f"digitscan scan . {where} | cat; exit ${{PIPESTATUS[0]}}"
        for _ in range(3):
            done = run_shell(script, cwd=tmp_path)
            assert done.returncode == 3
            assert [line.split(b",")[0] for line in done.stdout.splitlines()] == [b"path", b"7.png", b"8.png"]

    def test_an_output_that_is_named_like_an_image_is_not_scanned(tmp_path):
        digit_picture().save(tmp_path / "a.png")
        for how in ("--overwrite", "--resume", "--retry-errors"):
            done = run("scan", ".", "-o", "z.png", how, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert [row.path for row in CsvReader(tmp_path / "z.png")] == ["a.png"]
