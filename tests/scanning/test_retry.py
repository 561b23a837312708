"""What could not be read is read again; what was read stays as it is."""

import os

import pytest

from digitscan.errors import ExitCode
from digitscan.prediction import Status
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.scanning.pipeline import run_scan
from digitscan.workers.supervisor import ProcessFactory
from tests.support.command import run
from tests.support.outputs import leave_as_killed
from tests.support.pictures import digit_picture

BROKEN = ("=a/1.png", "9.png", "5 \udcff.png")


@pytest.fixture
def folder(tmp_path):
    """Five digits and three broken files, one of them with a name that is not UTF-8."""
    images = tmp_path / "images"
    (images / "=a").mkdir(parents=True)
    for name in ("0.png", "3.png", "=a/0.png", "=a/2.png", "=a/3.png"):
        digit_picture().save(images / name)
    for name in BROKEN:
        (images / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return images


def scanned(folder, *options):
    done = run("scan", folder, "-o", "rows.csv", *options, cwd=folder.parent)
    return done.returncode, done.stderr.decode(), (folder.parent / "rows.csv").read_bytes()


def mend(folder, *names):
    for name in names:
        digit_picture().save(os.fsdecode(os.fsencode(folder / name)), format="PNG")


@pytest.mark.parametrize("options", [[], ["--raw"], ["--excel", "--probabilities"]])
def test_mended_files_get_their_rows_and_the_csv_is_that_of_a_new_scan(folder, options):
    assert scanned(folder, *options)[0] == 3
    mend(folder, *BROKEN[:2])
    code, said, rows = scanned(folder, *options, "--retry-errors")
    assert code == 3 and "8 images" in said
    assert rows == scanned(folder, *options, "--overwrite")[2]
    mend(folder, BROKEN[2])
    code, _, rows = scanned(folder, *options, "--retry-errors")
    assert code == 0
    assert rows == scanned(folder, *options, "--overwrite")[2]


def test_files_are_read_again_by_processes_of_the_one_factory_that_a_scan_has(folder, monkeypatch):
    """A second one would start a second fork server."""
    scanned(folder)
    mend(folder, *BROKEN)
    started, start = [], ProcessFactory.__init__
    monkeypatch.setattr(ProcessFactory, "__init__", lambda self: started.append(start(self)))
    output_config = OutputConfig(folder.parent / "rows.csv", retry_errors=True, quiet=True)
    assert run_scan([folder], ScanConfig(), output_config) == ExitCode.OK
    assert len(started) == 1


def test_files_that_were_read_are_not_read_again(folder):
    scanned(folder)
    before = list(CsvReader(folder.parent / "rows.csv"))
    for name in ("0.png", "3.png"):
        (folder / name).write_bytes(b"")
    (folder / BROKEN[0]).unlink()
    scanned(folder, "--retry-errors")
    after = list(CsvReader(folder.parent / "rows.csv"))
    same = [row for row in before if row.status is not Status.ERROR]
    assert [row for row in after if row.status is not Status.ERROR] == same
    (gone,) = [row for row in after if row.path == BROKEN[0]]
    assert gone.status is Status.ERROR and gone.note == "no longer there"


def test_an_unfinished_scan_is_finished_as_well(folder):
    whole = scanned(folder)[2]
    lines = whole.splitlines(keepends=True)
    leave_as_killed(folder.parent / "rows.csv", b"".join(lines[:4]) + lines[4][:3])
    mend(folder, *BROKEN)
    code, _, rows = scanned(folder, "--retry-errors")
    assert code == 0
    assert rows == scanned(folder, "--overwrite")[2]


def test_several_folders_are_found_again(folder, tmp_path):
    words = ("scan", "images/=a", "images/9.png", "-o", "rows.csv")
    run(*words, cwd=tmp_path)
    mend(folder, *BROKEN)
    assert run(*words, "--retry-errors", cwd=tmp_path).returncode == 0
    assert all(row.status is not Status.ERROR for row in CsvReader(tmp_path / "rows.csv"))


def test_retrying_without_rows_is_an_output_error(folder):
    done = run("scan", folder, "-o", "rows.csv", "--retry-errors", cwd=folder.parent)
    assert done.returncode == 6
    assert "rows.csv holds no rows yet" in done.stderr.decode()
    assert not (folder.parent / "rows.csv").exists()


def test_the_new_file_has_the_permissions_of_the_old_one(folder):
    scanned(folder)
    (folder.parent / "rows.csv").chmod(0o640)
    scanned(folder, "--retry-errors")
    assert (folder.parent / "rows.csv").stat().st_mode & 0o777 == 0o640


def test_retrying_on_stdout_is_a_usage_error(folder):
    done = run("scan", folder, "-o", "-", "--retry-errors", cwd=folder.parent)
    assert (done.returncode, done.stdout) == (2, b"")


def test_the_old_rows_stay_whole_when_the_new_ones_cannot_be_written(folder):
    """A limit on the size of files stands for a full disk."""
    import resource

    before = scanned(folder)[2]
    mend(folder, *BROKEN)
    done = run(
        "scan",
        folder,
        "-o",
        "rows.csv",
        "--retry-errors",
        cwd=folder.parent,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )
    assert done.returncode == 6, done.stderr
    assert "File too large" in done.stderr.decode()
    assert (folder.parent / "rows.csv").read_bytes() == before
    assert {path.name for path in folder.parent.iterdir()} == {"images", "rows.csv", "rows.csv.json"}
