"""The Python API: what `import digitscan` offers, in scripts, notebooks and child processes."""

import doctest
import importlib
import os
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import digitscan
from digitscan import NoImagesError, ScanConfig, Status, UsageError
from tests.support.command import run_code
from tests.support.pictures import digit_picture, make_many_pictures

ROOT = Path(__file__).resolve().parents[1]
MODULES = [module.name for module in pkgutil.walk_packages(digitscan.__path__, "digitscan.")]


@pytest.fixture
def images(tmp_path):
    """A folder of three digits and a broken file."""
    for name in ("1.png", "2.png", "sub/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        digit_picture().save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def test_every_public_name_can_be_imported_and_is_documented():
    for name in digitscan.__all__:
        assert getattr(digitscan, name).__doc__, name
    assert set(digitscan.__all__) <= set(dir(digitscan))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        digitscan.nothing  # noqa: B018  # the access is the test


@pytest.mark.parametrize("module", ["digitscan", *MODULES])
def test_the_examples_in_the_docstrings_run(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_the_public_functions_and_records_have_examples(monkeypatch):
    finder = doctest.DocTestFinder(recurse=False)
    for name in ("scan", "Scan", "load_model", "preprocess", "Prediction", "ScanConfig", "TrainConfig"):
        assert any(test.examples for test in finder.find(getattr(digitscan, name), name)), name


def test_a_scan_yields_one_prediction_for_each_file_in_order(images):
    rows = list(digitscan.scan(images))
    assert [row.path for row in rows] == ["1.png", "2.png", "broken.png", "sub/3.png"]
    assert [row.digit for row in rows] == [7, 7, None, 7]
    assert rows[2].status is Status.ERROR and rows[2].note.startswith("damaged PNG")
    assert all(0.9 < row.confidence <= 1 for row in rows if row.digit is not None)


@pytest.mark.parametrize("as_given", [str, Path, lambda path: [path / "1.png", str(path / "sub")]])
def test_paths_may_be_one_or_several_as_text_or_path_objects(images, as_given):
    assert {row.digit for row in digitscan.scan(as_given(images))} <= {7, None}


def test_probabilities_come_when_they_are_asked_for(images):
    with digitscan.scan(images, ScanConfig(probabilities=True)) as scan:
        row = next(scan)
    assert len(row.probabilities) == 10 and int(np.argmax(row.probabilities)) == row.digit


def descendants(pid):
    """The processes that a process has started, and those that they have started. Linux."""
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return {*children, *(pid for child in children for pid in descendants(child))}


@pytest.mark.parametrize("leave", ["close", "with", "forget"])
def test_no_process_outlives_a_scan_that_is_not_read_to_the_end(images, leave):
    before = descendants(os.getpid())
    scan = digitscan.scan(make_many_pictures(images / "many", 3000))
    next(scan)
    pids = descendants(os.getpid()) - before
    assert pids
    if leave == "close":
        scan.close()
        assert list(scan) == []
    elif leave == "with":
        with scan:
            pass
    else:
        del scan
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_script_that_ends_in_the_middle_of_a_scan_ends_quietly(tmp_path):
    make_many_pictures(tmp_path / "many", 3000)
    done = run_code("import digitscan\nscan = digitscan.scan('many')\nnext(scan)", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_forked_copy_of_the_process_does_not_end_the_workers(tmp_path):
    make_many_pictures(tmp_path / "many", 3000)
    code = (
        "import digitscan, os, sys\n"
        "scan = digitscan.scan('many')\n"
        "next(scan)\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print(sum(row.digit == 7 for row in scan))\n"
    )
    done = run_code(code, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2999\n", b"")


def test_a_scan_that_cannot_start_has_no_predictions_when_asked_again(tmp_path):
    (tmp_path / "empty").mkdir()
    scan = digitscan.scan(tmp_path / "empty")
    with pytest.raises(NoImagesError):
        next(scan)
    assert list(scan) == []


def test_mistakes_are_errors_before_the_loop(images, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        digitscan.scan(tmp_path / "missing")
    with pytest.raises(digitscan.ModelError, match=r"nothing\.h5"):
        digitscan.scan(images, ScanConfig(model="nothing.h5"))
    with pytest.raises(UsageError, match="no path was given"):
        digitscan.scan([])
    for paths in ("", [str(images), ""]):
        with pytest.raises(UsageError, match="an empty path was given"):
            digitscan.scan(paths)


@pytest.mark.parametrize("method", [None, "spawn", "forkserver"])
def test_a_script_without_a_main_guard_scans(images, tmp_path, method):
    """Also after a start method was chosen: workers are no children of `multiprocessing`."""
    script = tmp_path / "script.py"
    choice = f"import multiprocessing; multiprocessing.set_start_method({method!r})\n" if method else ""
    script.write_text(f"{choice}import digitscan\nfor row in digitscan.scan('sub'):\n    print(row.digit)\n")
    done = run_code("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", script, cwd=images)
    assert (done.returncode, done.stdout) == (0, b"7\n"), done.stderr


def test_a_scan_works_in_a_thread_and_in_several_at_once(images):
    """A notebook may run a cell outside of the main thread, where no signal handler can be set."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(lambda _: len(list(digitscan.scan(images))), range(3)))
    assert counts == [4, 4, 4]


def test_a_picture_can_be_preprocessed_and_classified_without_files():
    preprocessed = digitscan.preprocess(np.asarray(digit_picture()))
    assert preprocessed.pixels.shape == (28, 28) and preprocessed.pixels.dtype == np.uint8
    probabilities = digitscan.load_model("cnn").load_classifier().classify(preprocessed.pixels[None])
    assert probabilities.shape == (1, 11) and probabilities[0].argmax() == 7
