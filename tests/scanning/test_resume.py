"""A scan that was interrupted continues, and ends with the bytes of one that never was."""

import json
import os
import random
import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.prediction import ImageFile, Prediction, Status, path_to_text, text_to_path
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.scanning.resume import RemainingFiles
from tests.support.command import run, start
from tests.support.outputs import leave_as_killed
from tests.support.pictures import digit_picture, make_many_pictures

NAMES = st.lists(
    st.lists(
        st.binary(min_size=1, max_size=3).filter(lambda part: not {0, 47} & {*part}), min_size=1, max_size=3
    ),
    max_size=8,
    unique_by=tuple,
)


@pytest.fixture
def folder(tmp_path):
    """A folder of 300 pictures and some broken files, in subfolders, with names of all kinds."""
    images = tmp_path / "images"
    picture = digit_picture(28)
    for number in range(300):
        place = images / ("a\nb" if number % 3 else "=c")
        place.mkdir(parents=True, exist_ok=True)
        picture.rotate(number % 20, fillcolor=255).save(place / f'{number:03d} "q".png')
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return images


def whole_scan(folder, *options):
    done = run("scan", folder, "-o", "whole.csv", *options, cwd=folder.parent)
    assert done.returncode in (0, 3), done.stderr
    return (folder.parent / "whole.csv").read_bytes()


def test_a_csv_cut_anywhere_is_continued_to_the_same_bytes(folder):
    whole = whole_scan(folder)
    output = folder.parent / "part.csv"
    run("scan", folder, "-o", "part.csv", cwd=folder.parent)
    for cut in [1, 20, *random.Random(1).sample(range(34, len(whole)), 4), len(whole)]:
        leave_as_killed(output, whole[:cut])
        done = run("scan", folder, "-o", "part.csv", "--resume", cwd=folder.parent)
        assert done.returncode == 3, done.stderr
        assert output.read_bytes() == whole, cut


def test_a_scan_killed_at_random_moments_is_continued_to_the_same_bytes(folder):
    whole = whole_scan(folder)
    output = folder.parent / "part.csv"
    moments = random.Random(2)
    for _ in range(4):
        process = start(
            "scan", folder, "-o", output, "--resume", stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(moments.uniform(0.1, 1.2))
        os.killpg(process.pid, 9)
        process.wait()
    done = run("scan", folder, "-o", output, "--resume", cwd=folder.parent)
    assert done.returncode == 3, done.stderr
    assert output.read_bytes() == whole


def test_a_finished_scan_has_nothing_left_to_read_and_counts_all_rows(folder):
    whole = whole_scan(folder)
    done = run("scan", folder, "-o", "whole.csv", "--resume", cwd=folder.parent)
    assert done.returncode == 3
    assert (folder.parent / "whole.csv").read_bytes() == whole
    assert b"for 301 images" in done.stderr


def test_different_settings_are_named_and_the_file_is_not_touched(folder):
    whole = whole_scan(folder)
    record = json.loads((folder.parent / "whole.csv.json").read_text())
    for options, words in [
        (["--min-confidence", "0.5"], "min confidence was the model's own threshold and is 0.5"),
        (["--model", "mlp"], "model was"),
        (["--probabilities"], "columns was"),
        (["--raw"], "raw was false and is true"),
    ]:
        done = run("scan", folder, "-o", "whole.csv", "--resume", *options, cwd=folder.parent)
        assert done.returncode == 6
        assert words in done.stderr.decode()
    assert (folder.parent / "whole.csv").read_bytes() == whole
    assert json.loads((folder.parent / "whole.csv.json").read_text()) == record


def test_other_filters_are_other_settings(folder):
    whole = whole_scan(folder, "--exclude", "broken*")
    for options, words in [
        ([], 'exclude was ["broken*"] and is []'),
        (["--exclude", "broken*", "--hidden"], "hidden was false and is true"),
        (["--exclude", "broken*", "--include", "*.png"], 'include was [] and is ["*.png"]'),
    ]:
        done = run("scan", folder, "-o", "whole.csv", "--resume", *options, cwd=folder.parent)
        assert done.returncode == 6
        assert words in done.stderr.decode()
    assert (folder.parent / "whole.csv").read_bytes() == whole


def test_a_long_list_of_files_is_continued_and_its_manifest_stays_small(tmp_path):
    many = make_many_pictures(tmp_path / "many", 1500)
    names = [f"many/{path.name}" for path in sorted(many.iterdir(), reverse=True)]
    words = ("scan", "--files-from", "-", "-o", "rows.csv", "--quiet")
    data = "\n".join(names).encode()
    assert run(*words, cwd=tmp_path, input=data).returncode == 0
    output = tmp_path / "rows.csv"
    whole = output.read_bytes()
    assert [row.path for row in CsvReader(output)] == names
    assert (tmp_path / "rows.csv.json").stat().st_size < 2000
    leave_as_killed(output, whole[: len(whole) // 2])
    done = run(*words, "--resume", cwd=tmp_path, input=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert output.read_bytes() == whole
    done = run(*words, "--resume", cwd=tmp_path, input=data + b"\nmany")
    assert done.returncode == 6 and b"the list of paths was" in done.stderr


def test_paths_inside_each_other_are_continued_to_the_same_bytes(folder):
    words = ("scan", "images", "images/=c", "images/broken.png", "-o", "rows.csv")
    assert run(*words, cwd=folder.parent).returncode == 3
    output = folder.parent / "rows.csv"
    whole = output.read_bytes()
    assert len(list(CsvReader(output))) == 301
    # A row whose file is gone, at the end of the first of the paths.
    (folder / "a\nb" / '299 "q".png').unlink()
    for share in (0.1, 0.9):
        leave_as_killed(output, whole[: int(share * len(whole))])
        done = run(*words, "--resume", cwd=folder.parent)
        assert done.returncode == 3 and b"were added before" not in done.stderr
        rows = {row.path for row in CsvReader(output)}
        assert len(rows) == (300 if share < 0.3 else 301)


def test_a_csv_of_an_older_preprocessing_is_not_continued(folder):
    """One file never mixes the rows of two versions of preprocessing."""
    whole = whole_scan(folder)
    manifest = folder.parent / "whole.csv.json"
    record = json.loads(manifest.read_text())
    assert record["preprocess_version"] == PREPROCESS_VERSION
    older = PREPROCESS_VERSION - 1
    manifest.write_text(json.dumps({**record, "preprocess_version": older}))
    (folder.parent / "whole.csv").write_bytes(whole[:2000])
    done = run("scan", folder, "-o", "whole.csv", "--resume", cwd=folder.parent)
    assert done.returncode == 6
    assert f"preprocess version was {older} and is {PREPROCESS_VERSION}" in done.stderr.decode()
    assert (folder.parent / "whole.csv").read_bytes() == whole[:2000]


def test_a_csv_without_its_manifest_is_not_continued(folder):
    whole_scan(folder)
    (folder.parent / "whole.csv.json").unlink()
    done = run("scan", folder, "-o", "whole.csv", "--resume", cwd=folder.parent)
    assert done.returncode == 6
    assert "whole.csv.json is missing" in done.stderr.decode()


def test_files_added_before_the_point_reached_are_reported_and_not_read(folder):
    whole = whole_scan(folder)
    output = folder.parent / "whole.csv"
    lines = whole.split(b"\n")
    output.write_bytes(b"\n".join(lines[:120]) + b"\n")
    digit_picture().save(folder / "=c" / "000 a.png")
    (folder / "broken.png").unlink()
    digit_picture().save(folder / "a\nb" / "999.png")
    done = run("scan", folder, "-o", "whole.csv", "--resume", cwd=folder.parent)
    assert done.returncode == 3, "the row of the file that vanished stays"
    assert "=c/000 a.png was added before the point" in done.stderr.decode()
    rows = [row.path for row in CsvReader(output)]
    assert len(rows) == 302 and rows[-1] == "a\nb/999.png" and "=c/000 a.png" not in rows


def test_resuming_stdout_is_a_usage_error(folder):
    done = run("scan", folder, "-o", "-", "--resume", cwd=folder.parent)
    assert (done.returncode, done.stdout) == (2, b"")
    assert "stdout cannot be resumed" in done.stderr.decode()


def test_two_scans_never_write_the_same_file(tmp_path):
    pictures = make_many_pictures(tmp_path / "many", 12_000)
    output = tmp_path / "part.csv"
    first = start("scan", pictures, "-o", output, "--quiet", stderr=None)
    try:
        while not output.exists() or output.stat().st_size == 0:
            time.sleep(0.01)
        for how in ("--resume", "--overwrite"):
            done = run("scan", pictures, "-o", output, how)
            assert first.poll() is None, "the first scan was too quick for this test"
            assert done.returncode == 6
            assert "another scan is writing" in done.stderr.decode()
    finally:
        first.kill()
        first.wait()
    done = run("scan", pictures, "-o", output, "--overwrite", "--quiet")
    assert done.returncode == 0, "a killed scan leaves no lock"


def test_overwriting_keeps_the_rows_if_another_file_has_the_manifests_name(folder):
    whole = whole_scan(folder)
    (folder.parent / "whole.csv.json").write_text('{"of": "somebody else"}')
    done = run("scan", folder, "-o", "whole.csv", "--overwrite", cwd=folder.parent)
    assert done.returncode == 6
    assert "whole.csv.json is in the way" in done.stderr.decode()
    assert (folder.parent / "whole.csv").read_bytes() == whole


def test_overwriting_keeps_the_rows_if_the_manifest_cannot_be_written(folder):
    """The name of the record is longer by five letters."""
    output = folder.parent / ("a" * 248 + ".csv")
    output.write_text("path,digit\n")
    done = run("scan", folder, "-o", output, "--overwrite", cwd=folder.parent)
    assert done.returncode == 6 and "the rows that were written before are whole" in done.stderr.decode()
    assert output.read_text() == "path,digit\n"
    output.unlink()
    done = run("scan", folder, "-o", output, cwd=folder.parent)
    assert done.returncode == 6 and not output.exists(), "an empty CSV would stop the next try"


def test_several_folders_whose_names_are_not_utf8_are_continued(folder):
    names = [os.fsdecode(name) for name in (b"b\xff", b"b\\xff", b"a\xfe")]
    for name in names:
        shutil.copytree(folder / "=c", folder.parent / name)
    words = ("scan", *names, "-o", "rows.csv")
    assert run(*words, cwd=folder.parent).returncode == 0
    output = folder.parent / "rows.csv"
    whole = output.read_bytes()
    # One with a row, the last of its folder: what comes next belongs to another one of the paths.
    sorted((folder.parent / names[0]).iterdir())[-1].unlink()
    for share in (0.5, 0.8, 1):
        leave_as_killed(output, whole[: int(share * len(whole))])
        done = run(*words, "--resume", cwd=folder.parent)
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == whole
        assert b"were added before" not in done.stderr


@given(NAMES, st.sets(st.integers(0, 7)), st.integers(0, 8))
def test_the_remaining_files_are_those_without_a_row_after_the_last_row(names, missing, reached):
    ordered = sorted((b"/".join(name) for name in names), key=walk_order)
    rows = [row_of(name) for number, name in enumerate(ordered[:reached]) if number not in missing]
    remaining = RemainingFiles([image_file(name) for name in ordered], rows, ())
    left = [text_to_path(file.name, not file.notes) for file in remaining]
    last = max((ordered.index(name) for name in map(name_of, rows)), default=-1)
    assert left == ordered[last + 1 :]
    assert remaining.missed_count == last + 1 - len(rows)


def walk_order(name):
    *folders, file = name.split(b"/")
    return [(1, folder) for folder in folders] + [(0, file)]


def image_file(name):
    shown, exact = path_to_text(name)
    return ImageFile("", shown, () if exact else ("name is not UTF-8",))


def row_of(name):
    shown, exact = path_to_text(name)
    return Prediction(shown, 1, 1.0, Status.OK, "" if exact else "faint; name is not UTF-8")


def name_of(row):
    return text_to_path(row.path, "UTF-8" not in row.note)
