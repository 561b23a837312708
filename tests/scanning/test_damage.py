"""Damaged files, crafted files and folders full of traps, through whole scans: one row each, none lost."""

import csv
import ctypes
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

from digitscan.prediction import Status, path_to_text
from digitscan.scanning.output.csv_format import read_csv
from tests.support.command import PACKAGE_FOLDER
from tests.support.damaged_files import NAMES, crafted_files, damaged_files, endless_files, sound_files
from tests.support.pictures import digit_picture


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A folder of 420 damaged files, each with a sound neighbour, and one of the sound ones alone."""
    folder = tmp_path_factory.mktemp("damaged")
    for place in ("mixed", "sound"):
        (folder / place).mkdir()
    for (bad, bad_data), (good, good_data) in zip(damaged_files(1, 420), sound_files(1, 420), strict=True):
        (folder / "mixed" / bad).write_bytes(bad_data)
        for place in ("mixed", "sound"):
            (folder / place / good).write_bytes(good_data)
    return folder


def lines_by_name(path):
    return {line.split(b",")[0]: line for line in path.read_bytes().splitlines()[1:]}


def test_damaged_files_have_their_rows_and_cost_their_neighbours_nothing(damaged, run_command):
    alone = run_command("scan", "sound", "-o", "sound.csv", "--probabilities", cwd=damaged)
    assert (alone.returncode, alone.stderr.count(b"failed")) == (0, 0)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "digitscan", "scan", "mixed", "-o", "mixed.csv", "--probabilities"],
        cwd=damaged,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    words = process.communicate(timeout=120)[1]
    assert process.returncode == 3
    assert b"Traceback" not in words and b"unexpected" not in words
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    rows = list(read_csv(damaged / "mixed.csv"))
    assert [row.path for row in rows] == sorted(os.listdir(damaged / "mixed"))
    mixed, sound = lines_by_name(damaged / "mixed.csv"), lines_by_name(damaged / "sound.csv")
    assert len(sound) == 420 and {name: mixed[name] for name in sound} == sound
    errors = [row for row in rows if row.status is Status.ERROR]
    assert 200 < len(errors) < 420 and not any(row.path.encode() in sound for row in errors)
    assert all(row.note and row.note.isprintable() for row in errors)


def test_crafted_files_have_the_rows_that_they_deserve(tmp_path, run_command):
    """Bombs, odd shapes and modes, many frames, huge EXIF: read, or refused for the right reason."""
    images = tmp_path / "images"
    images.mkdir()
    expected = {}
    for crafted in crafted_files():
        (images / crafted.name).write_bytes(crafted.data)
        expected[crafted.name] = (crafted.error, crafted.notes)
    done = run_command("scan", images, "-o", "rows.csv", "--timeout", "60", cwd=tmp_path)
    assert done.returncode == 3 and b"Traceback" not in done.stderr
    rows = {row.path: row for row in read_csv(tmp_path / "rows.csv")}
    assert list(rows) == sorted(expected)
    for name, (error, notes) in expected.items():
        row = rows[name]
        assert (row.status is Status.ERROR) == (error is not None), row
        assert row.note.startswith(error or "") and notes in row.note, row


@pytest.mark.parametrize(
    "rows",
    [b"\xe9 no text\n", b"path,\xff\n", b'"a"b,c\n', b"other,columns\n", b"path" + b"x" * 200_000 + b"\n"],
)
def test_rows_that_are_no_longer_ours_are_not_gone_on_with(tmp_path, run_command, rows):
    digit_picture().save(tmp_path / "7.png")
    assert run_command("scan", "7.png", "-o", "rows.csv", cwd=tmp_path).returncode == 0
    (tmp_path / "rows.csv").write_bytes(rows)
    for how in ("--resume", "--retry-errors"):
        done = run_command("scan", "7.png", "-o", "rows.csv", how, cwd=tmp_path)
        assert done.returncode == 6
        assert done.stderr.startswith(b"digitscan: rows.csv: ") and done.stderr.count(b"\n") == 1
        assert (tmp_path / "rows.csv").read_bytes() == rows


@pytest.mark.parametrize("record", [b"[" * 200_000, b'{"a":' * 100_000, b"\xff", b"{}", b""])
def test_a_record_that_is_not_ours_is_neither_believed_nor_replaced(tmp_path, run_command, record):
    digit_picture().save(tmp_path / "7.png")
    assert run_command("scan", "7.png", "-o", "rows.csv", cwd=tmp_path).returncode == 0
    (tmp_path / "rows.csv.json").write_bytes(record)
    for how, words in (("--resume", b"--overwrite"), ("--overwrite", b"rows.csv.json is in the way")):
        done = run_command("scan", "7.png", "-o", "rows.csv", how, cwd=tmp_path)
        assert done.returncode == 6
        assert words in done.stderr and done.stderr.count(b"\n") == 1
        assert (tmp_path / "rows.csv.json").read_bytes() == record


if sys.platform == "linux":

    def test_files_of_gigabytes_that_hold_nothing_cost_no_gigabytes(tmp_path, run_command):
        """They take no room on the disk, so anyone can make and send them."""
        images = tmp_path / "images"
        images.mkdir()
        for name, start, size in endless_files():
            with (images / name).open("wb") as file:
                file.write(start)
                file.truncate(size)
        digit_picture().save(images / "sound.png")
        done = run_command("scan", images, "-o", "rows.csv", "--timeout", "2", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        rows = {row.path: row.note for row in read_csv(tmp_path / "rows.csv")}
        assert rows.pop("sound.png") == "" and len(rows) == 6
        assert not any("crashed" in note for note in rows.values()), rows
        assert rows["endless.webp"] == "too large: not enough memory to decode it"
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
        (folder / "secret.png").chmod(0)
        closed = folder / "[red]closed\x1b[31m"
        closed.mkdir()
        digit_picture().save(closed / "unseen.png")
        closed.chmod(0)
        (folder / "into-closed.png").symlink_to(closed / "unseen.png")
        (folder / "folder.png").mkdir()
        digit_picture().save(folder / "folder.png" / "7.png")
        yield folder
        closed.chmod(0o700)

    def test_each_trap_in_a_folder_has_its_row_or_is_counted_with_its_reason(traps, run_command):
        done = run_command("scan", ".", cwd=traps, preexec_fn=without_privilege)
        assert done.returncode == 3
        rows = {row["path"]: row for row in csv.DictReader(io.StringIO(done.stdout.decode()))}
        assert list(rows) == [
            "dead.png", "into-closed.png", "loop.png", "secret.png",
            "a/same.png", "b/same.png", "folder.png/7.png",
        ]  # fmt: skip
        assert rows["dead.png"]["note"] == "no longer there"
        assert rows["loop.png"]["note"].startswith("cannot be opened: ")
        assert rows["secret.png"]["note"] == "no permission to read it"
        assert rows["into-closed.png"]["note"] == "no permission to read it"
        assert [rows[f"{name}/same.png"]["digit"] for name in "ab"] == ["7", "7"]
        words = " ".join(done.stderr.decode().split())
        assert "2 link to a folder" in words and "2 pipe, socket or device" in words
        assert r"could not be opened: [red]closed\x1b[31m/" in words

    def test_files_of_no_kind_are_refused_by_name_without_waiting_for_them(traps, run_command):
        named = ["pipe.png", "socket.png", "/dev/null", "/dev/zero", "folder.png"]
        done = run_command("scan", *named, "--timeout", "5", cwd=traps)
        assert done.returncode == 3
        rows = {row["path"]: row for row in csv.DictReader(io.StringIO(done.stdout.decode()))}
        assert list(rows) == [*named[:4], "folder.png/7.png"]
        for name in ("pipe.png", "/dev/null", "/dev/zero"):
            assert rows[name]["note"] == "not a file: a pipe, socket or device"
        assert rows["socket.png"]["status"] == "error"

    def test_what_is_closed_is_said_for_every_path_that_can_be_named(traps, run_command):
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
            done = run_command("scan", *words, cwd=traps, preexec_fn=without_privilege)
            assert done.returncode == code, (words, done.stderr)
            assert said in done.stderr.decode() and b"Traceback" not in done.stderr

    def test_a_link_in_a_circle_is_said_where_it_is_named(tmp_path, run_command):
        (tmp_path / "loop.png").symlink_to("loop.png")
        done = run_command("scan", "loop.png", cwd=tmp_path)
        assert done.returncode == 3 and b"loop.png,,,error,cannot be opened: " in done.stdout
        for how in ("--overwrite", "--resume"):
            done = run_command("scan", ".", "-o", "loop.png", how, cwd=tmp_path)
            assert done.returncode in (4, 6) and done.stderr.count(b"\n") == 1

    def test_a_folder_of_models_that_is_closed_does_not_stop_a_scan(traps, run_command):
        (traps / "models").mkdir(mode=0)
        done = run_command("scan", "a", cwd=traps, preexec_fn=without_privilege)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("options", [(), ("--raw",), ("--excel",)])
    def test_every_name_comes_back_exactly(tmp_path, run_command, options):
        images = tmp_path / "images"
        (images / "=sub,folder\n").mkdir(parents=True)
        for name in NAMES:
            for folder in (b"", b"=sub,folder\n"):
                with open(os.path.join(os.fsencode(images), folder, name), "wb"):
                    pass
        done = run_command("scan", images, "-o", "rows.csv", *options, cwd=tmp_path)
        assert done.returncode == 3
        rows = list(read_csv(tmp_path / "rows.csv", raw="--raw" in options))
        expected = [
            path_to_text(folder + name)[0] for folder in (b"", b"=sub,folder\n/") for name in sorted(NAMES)
        ]
        assert [row.path for row in rows] == expected
        marked = sum("name is not UTF-8" in row.note for row in rows)
        assert marked == 2 * sum(not path_to_text(name)[1] for name in NAMES)

    TO_OBEY = [name for name in NAMES if b"[" in name or not path_to_text(name)[0].isprintable()]

    @pytest.mark.parametrize("name", TO_OBEY, ids=range(len(TO_OBEY)))
    def test_the_terminal_obeys_no_name(tmp_path, run_command, name):
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
            done = run_command("scan", *map(os.fsdecode, words), cwd=tmp_path)
            assert done.returncode == code, done.stderr
            text = done.stderr.decode()
            assert all(letter.isprintable() or letter == "\n" for letter in text), done.stderr
            assert "Traceback" not in text

    def test_markup_in_a_name_is_shown_as_text(tmp_path, run_command):
        (tmp_path / "[red]x[").mkdir()
        (tmp_path / "[red]x[" / "red] [blink]y.png").touch()
        done = run_command("scan", ".", "-o", "[bold]z.csv", cwd=tmp_path, env={"COLUMNS": "200"})
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
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "digitscan", "scan", "images", "-o", "rows.csv", "--workers", "1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            stderr=subprocess.PIPE,
            start_new_session=True,
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
        rows = list(read_csv(output))
        assert [row.path for row in rows] == names
        assert {row.digit for row in rows[:-30]} == {7}
        assert {row.note for row in rows[-30:-20]} == {"no longer there"}
        assert all(row.note.startswith(("cut short PNG", "damaged PNG")) for row in rows[-20:-10])
        assert {row.note for row in rows[-10:]} == {"not a file: a folder"}

    def test_a_folder_that_vanishes_before_its_turn_is_said(tmp_path):
        images = tmp_path / "images"
        (images / "sub").mkdir(parents=True)
        digit_picture(28).save(images / "00000.png")
        for number in range(1, 12_000):
            os.link(images / "00000.png", images / f"{number:05d}.png")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "digitscan", "scan", "images", "-o", "rows.csv", "--workers", "1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            stderr=subprocess.PIPE,
        )
        output = tmp_path / "rows.csv"
        while not output.exists() or output.stat().st_size < 100:
            time.sleep(0.005)
        (images / "sub").rmdir()
        words = process.communicate(timeout=60)[1]
        assert process.returncode == 3
        assert b"could not be opened: sub/" in words and b"Traceback" not in words
        assert len(list(read_csv(output))) == 12_000

    @pytest.mark.parametrize("where", ["2>/dev/full", "2> >(true)", "2>&-"])
    def test_words_that_nobody_can_take_cost_no_row_and_change_no_exit_code(tmp_path, where):
        """A full disk under the log, a reader of it that has gone, none at all."""
        digit_picture().save(tmp_path / "7.png")
        (tmp_path / "8.png").touch()
        script = f'"$0" -P -m digitscan scan . {where} | cat; exit ${{PIPESTATUS[0]}}'
        for _ in range(3):
            done = subprocess.run(
                ["bash", "-c", script, sys.executable],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
                stdout=subprocess.PIPE,
                timeout=60,
            )
            assert done.returncode == 3
            assert [line.split(b",")[0] for line in done.stdout.splitlines()] == [b"path", b"7.png", b"8.png"]

    def test_an_output_with_an_images_name_in_the_scanned_folder_is_no_input(tmp_path, run_command):
        digit_picture().save(tmp_path / "a.png")
        for how in ("--overwrite", "--resume", "--retry-errors"):
            done = run_command("scan", ".", "-o", "z.png", how, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert [row.path for row in read_csv(tmp_path / "z.png")] == ["a.png"]
