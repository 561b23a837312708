"""An output that people or programs change, between scans and during one: nothing of it is lost."""

import os
import signal
import time

import pytest

from digitscan.scanning.output.csv_format import CsvReader
from tests.support.command import run, start
from tests.support.pictures import digit_picture


@pytest.fixture
def scanned(tmp_path):
    """The rows of three files, of which the last could not be read, but can be now."""
    for name in ("1.png", "2.png"):
        digit_picture().save(tmp_path / name)
    (tmp_path / "3.png").touch()
    assert run("scan", ".", "-o", "rows.csv", cwd=tmp_path).returncode == 3
    digit_picture().save(tmp_path / "3.png")
    return tmp_path / "rows.csv"


def encode_as_utf16(data):
    return data.decode().encode("utf-16")


def put_stray_quote(data):
    return data.replace(b"\n1.png", b'\n"1.png')


def put_nul_byte(data):
    return data.replace(b"3.png", b"3\0.png")


def remove_a_column(data):
    return b"\n".join(line.rpartition(b",")[0] for line in data.split(b"\n"))


def put_other_numbers(data):
    return data.replace(b"1.png,7,", b"1.png,12,")


@pytest.mark.parametrize(
    "edit", [encode_as_utf16, put_stray_quote, put_nul_byte, remove_a_column, put_other_numbers]
)
def test_an_output_that_cannot_be_parsed_is_refused_untouched(scanned, edit):
    edited = edit(scanned.read_bytes())
    scanned.write_bytes(edited)
    for option in ("--resume", "--retry-errors", "--update"):
        done = run("scan", ".", "-o", "rows.csv", option, cwd=scanned.parent)
        assert done.returncode == 6 and done.stderr.count(b"\n") == 1, done.stderr
        assert done.stderr.startswith(b"digitscan: rows.csv: ")
        assert scanned.read_bytes() == edited


def test_corrections_by_hand_survive_in_a_file_with_other_line_ends(scanned):
    """As an editor saves them, without the last line end."""
    edited = scanned.read_bytes().replace(b"1.png,7", b"1.png,4").replace(b"\n", b"\r").rstrip()
    scanned.write_bytes(edited)
    digit_picture().save(scanned.parent / "4.png")
    assert run("scan", ".", "-o", "rows.csv", "--resume", cwd=scanned.parent).returncode == 3
    assert scanned.read_bytes().startswith(edited + b"\n4.png,7,")
    assert run("scan", ".", "-o", "rows.csv", "--retry-errors", cwd=scanned.parent).returncode == 0
    assert [(row.path, row.digit) for row in CsvReader(scanned)] == [
        ("1.png", 4),
        ("2.png", 7),
        ("3.png", 7),
        ("4.png", 7),
    ]


if os.name == "posix":
    FILE_COUNT = 12_000

    @pytest.fixture(scope="module")
    def many_files(tmp_path_factory):
        """A folder of so many files that there is time to change the output while they are read."""
        folder = tmp_path_factory.mktemp("many") / "images"
        folder.mkdir()
        digit_picture(28).save(folder / "00000.png")
        for number in range(1, FILE_COUNT):
            os.link(folder / "00000.png", folder / f"{number:05d}.png")
        return folder

    def delete(output):
        output.unlink()

    def replace(output):
        output.with_suffix(".new").write_bytes(output.read_bytes()[:100])
        output.with_suffix(".new").replace(output)

    def save_over(output):
        output.write_bytes(b"".join(output.read_bytes().splitlines(keepends=True)[:5]))

    @pytest.mark.parametrize("change", [delete, replace, save_over])
    def test_rows_of_an_output_that_changes_during_a_scan_are_kept_beside_it(many_files, tmp_path, change):
        output = tmp_path / "rows.csv"
        process = start("scan", many_files, "-o", output, "--workers", "1", start_new_session=True)
        while not output.exists() or output.stat().st_size < 100:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGSTOP)
        assert output.read_bytes().count(b"\n") < FILE_COUNT // 2, "the scan was too quick for this test"
        row_count = output.read_bytes().count(b"\n")
        change(output)
        left = output.read_bytes() if output.exists() else None
        os.killpg(process.pid, signal.SIGCONT)
        message = process.communicate(timeout=100)[1].decode()
        assert process.returncode == 6 and "by another program" in message and "Traceback" not in message
        assert "rows.csv.digitscan-rescued" in message.splitlines()[-1]
        assert (output.read_bytes() if output.exists() else None) == left
        rescued = [row.path for row in CsvReader(tmp_path / "rows.csv.digitscan-rescued")]
        names = [f"{number:05d}.png" for number in range(FILE_COUNT)]
        assert rescued == (names[row_count - 1 :] if change is save_over else names)
        if change is save_over:
            done = run("scan", many_files, "-o", output, "--resume")
            assert done.returncode == 0 and [row.path for row in CsvReader(output)] == names
