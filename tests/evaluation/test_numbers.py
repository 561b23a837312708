"""`digitscan evaluate --numbers` reads labelled numbers as a scan does, and says how well.

The network has random weights: what it reads is chance, but always the same. So the labels are made from it.
"""

import io
import json
import shutil

import cv2
import numpy as np
import pytest
from rich.console import Console

import digitscan
from digitscan.errors import DataError, ModelError, UsageError
from digitscan.evaluation.config import EvaluateConfig
from digitscan.evaluation.pipeline import run_evaluation
from digitscan.prediction import Status
from tests.imaging.drawing import draw_number
from tests.support.command import run
from tests.support.line_models import provide_line_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with provide_line_model(tmp_path_factory.mktemp("model")) as path:
        yield path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve numbers and an empty field."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(12):
        cv2.imwrite(str(folder / f"{index:02}.png"), draw_number(str(3 ** (index + 1))[:4], index))
    cv2.imwrite(str(folder / "empty.png"), np.full((40, 90), 230, np.uint8))
    return folder


@pytest.fixture(scope="module")
def rows(images, model):
    """What a scan reads in them: at least eight numbers, by name."""
    rows = {row.path: row for row in scan(images, model)}
    assert sum(row.number is not None for row in rows.values()) > 8
    return rows


@pytest.fixture
def truth(tmp_path, rows):
    """Labels that say that two numbers were read wrong: one is another, and one is none."""
    labels = {name: row.number or "none" for name, row in rows.items()}
    wrong = [name for name, row in rows.items() if row.number][:2]
    labels.update(zip(wrong, ("1234567", "none"), strict=True))
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    return path


def scan(images, model, **settings):
    return digitscan.scan(images, digitscan.ScanConfig(numbers=True, model=model, **settings))


def evaluate(source, model, **settings):
    """The scores, and what is printed in 80 columns."""
    file = io.StringIO()
    config = EvaluateConfig(source, numbers=True, model=model, **settings)
    return run_evaluation(config, Console(file=file, width=80)), file.getvalue()


def test_the_scores_are_those_of_what_a_scan_reads(images, model, rows, truth):
    evaluation, text = evaluate(images, model, truth=truth)
    metrics = evaluation.metrics
    read = [row for row in rows.values() if row.number]
    assert (metrics.accuracy.count, metrics.accuracy.total) == (len(read) - 2, len(read) - 1)
    assert metrics.negatives_rejected.total == len(rows) - len(read) + 1
    assert metrics.negatives_rejected.count == len(rows) - len(read)
    ok = sum(row.status is Status.OK for row in read)
    assert metrics.ok.count + metrics.negatives_ok.count == ok
    assert 0 < metrics.digit_error_rate < 1 and metrics.confusion is None
    assert "numbers read right" in text and "digit error rate" in text
    assert "wrong among the ok numbers" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_a_subfolder_for_each_number_gives_the_same_scores_as_a_csv(images, model, truth, tmp_path):
    folder = tmp_path / "by-label"
    for line in truth.read_text().splitlines()[1:]:
        name, label = line.split(",")
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(images / name, folder / label / name)
    by_label, by_csv = evaluate(folder, model)[0].metrics, evaluate(images, model, truth=truth)[0].metrics
    assert by_label.accuracy == by_csv.accuracy and by_label.ok == by_csv.ok
    assert by_label.digit_error_rate == by_csv.digit_error_rate


def test_what_is_known_of_the_numbers_is_measured(images, model, truth):
    for settings in ({"length": 2}, {"length": "3-5", "check": "luhn"}):
        ok = sum(row.status is Status.OK for row in scan(images, model, **settings))
        metrics = evaluate(images, model, truth=truth, **settings)[0].metrics
        assert metrics.ok.count + metrics.negatives_ok.count == ok


def test_the_same_model_is_no_better_than_itself_and_the_results_are_written(images, model, truth, tmp_path):
    evaluation, text = evaluate(images, model, truth=truth, against=model, output=tmp_path / "scores")
    assert "right on the same images" in " ".join(text.split())
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert names == {"metrics.json", "calibration.png", "coverage.png", "mistakes.png"}
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text())["metrics"]
    assert scores["digit_error_rate"] == evaluation.metrics.digit_error_rate


def test_the_command_reads_numbers(images, model, truth, tmp_path):
    options = ("--truth", truth, "--numbers", "--length", "1-4", "--model", model, "--json")
    done = run("evaluate", images, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["digit_error_rate"] > 0
    assert "add --numbers to read whole numbers" in run("evaluate", images, *options[:2]).stderr.decode()


def test_labels_of_whole_numbers_without_the_option_are_told_of_it(images, truth, tmp_path):
    (tmp_path / "407").mkdir()
    for source, settings in ((images, {"truth": truth}), (tmp_path, {})):
        with pytest.raises(DataError, match=r"; add --numbers to read whole numbers$"):
            run_evaluation(EvaluateConfig(source, model="cnn", **settings))


def test_mnist_and_a_csv_of_digits_have_no_whole_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="MNIST has single digits only: leave out --numbers"):
        evaluate("mnist", None)
    path = tmp_path / "corrected.csv"
    path.write_text("path,digit,confidence,status,corrected\na.png,7,0.99,ok,7\n")
    with pytest.raises(DataError, match="is of single digits: leave out --numbers"):
        evaluate(path, None)


def test_a_corrected_csv_of_numbers_may_be_called_so_but_is_not_read_again(tmp_path):
    path = tmp_path / "corrected.csv"
    path.write_text("path,number,confidence,status,note,corrected\na.png,407,0.99,ok,,407\n")
    assert evaluate(path, None)[0].metrics.accuracy.count == 1
    with pytest.raises(UsageError, match=r"the answers of its scan: leave out .* --length and --check"):
        evaluate(path, None, length=3)


def test_a_model_of_single_digits_and_rules_without_numbers_are_refused(images, truth):
    with pytest.raises(ModelError, match="cnn reads single digits: leave out --numbers"):
        evaluate(images, "cnn", truth=truth)
    with pytest.raises(UsageError, match="--length is for whole numbers: add --numbers"):
        EvaluateConfig(images, length=3)
