"""A corrected CSV of whole numbers tells how many were right, and how many of their digits."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from digitscan.errors import DataError, UsageError
from digitscan.evaluation.config import EvaluateConfig
from digitscan.evaluation.corrected_csv import read_corrected_csv
from digitscan.evaluation.labels import read_truth
from digitscan.evaluation.metrics import compute_metrics, edit_distance
from digitscan.evaluation.pipeline import run_evaluation
from digitscan.training.data.corrections import read_corrections

HEADER = "path,number,confidence,status,note,corrected,audit\n"
ROWS = (
    "a.png,407,0.9990,ok,,407,\n"
    "b.png,12,0.9990,ok,,,\n"
    "c.png,407,0.6000,review,407 or 401,401,\n"
    "d.png,,,no-digit,blank,none,\n"
    "e.png,33,0.9950,ok,,none,\n"
    "f.png,,,error,damaged,40,\n"
    "g.png,007,0.9950,ok,in full: 007,07,yes\n"
)


@pytest.fixture
def write(tmp_path):
    """A function that writes rows as a corrected CSV and returns its path."""

    def write(rows, header=HEADER):
        path = tmp_path / "corrected.csv"
        path.write_text(header + rows)
        return path

    return write


def pairs(answers):
    """What is right and what was read in each row, "" for no number."""
    labels, predictions = answers.labels.tolist(), answers.predictions.tolist()
    return [
        (answers.find_number(label), answers.find_number(prediction))
        for label, prediction in zip(labels, predictions, strict=True)
    ]


def test_only_rows_that_were_looked_at_count_and_zeros_matter(write):
    csv = read_corrected_csv(write(ROWS))
    assert csv.answers.names == ("a.png", "c.png", "d.png", "e.png", "f.png", "g.png")
    assert pairs(csv.answers) == [
        ("407", "407"),
        ("401", "407"),
        ("", ""),
        ("", "33"),
        ("40", ""),
        ("07", "007"),
    ]
    assert csv.answers.is_right.tolist() == [True, False, True, False, False, False]
    assert csv.answers.may_be_ok.tolist() == [True, True, False, True, False, True]
    assert (csv.audit.count, csv.audit.total) == (1, 1)


def test_the_scores_are_those_of_whole_numbers_and_of_their_digits(write):
    metrics = compute_metrics(read_corrected_csv(write(ROWS)).answers)
    assert (metrics.accuracy.count, metrics.accuracy.total) == (1, 4)
    assert (metrics.ok.count, metrics.wrong_ok.count) == (2, 1)
    assert (metrics.negatives_rejected.count, metrics.negatives_ok.count) == (1, 1)
    assert metrics.digit_error_rate == (0 + 1 + 2 + 1) / (3 + 3 + 2 + 2)
    assert metrics.confusion is None and metrics.digits == ()


def test_what_a_spreadsheet_makes_of_zeros_is_right_if_it_was(write):
    rows = "a.png;7;0,9990;ok;in full: 007;7.0\nb.png;12;0,9;ok;;13\n"
    header = "\ufeffpath;number;confidence;status;note;corrected\n"
    answers = read_corrected_csv(write(rows, header)).answers
    assert pairs(answers) == [("007", "007"), ("13", "12")]


def test_the_command_prints_and_writes_the_scores_of_numbers(write, tmp_path):
    file = io.StringIO()
    config = EvaluateConfig(write(ROWS), output=tmp_path / "scores")
    run_evaluation(config, Console(file=file, width=100))
    text = file.getvalue()
    assert "numbers read right" in text and "digit error rate" in text and "numbers ok" in text
    assert "is \\ read as" not in text and "precision" not in text
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert names == {"metrics.json", "calibration.png", "coverage.png"}
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text())["metrics"]
    assert scores["digit_error_rate"] == 0.4 and scores["confusion"] is None


@pytest.mark.parametrize("cell", ["4.5", "-7", "1e3", "seven", "\u0663"])
def test_a_correction_that_is_no_number_is_refused_with_its_line(write, cell):
    with pytest.raises(DataError, match=r"line 2: .* is no number: expected digits, none for no number"):
        read_corrected_csv(write(f"a.png,407,0.9,ok,,{cell},\n"))


def test_numbers_are_no_labels_for_a_model_of_single_digits(write):
    with pytest.raises(DataError, match="holds whole numbers: here labels of single digits are needed"):
        read_corrections(write(ROWS), None, 11, lambda path, reason: None)


def test_labels_of_digits_may_stand_beside_a_column_of_other_numbers(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    truth = tmp_path / "truth.csv"
    truth.write_text("path,number,label\na.png,1234,7\n")
    assert [file.label for file in read_truth(truth, tmp_path)] == [7]


def test_a_model_cannot_be_asked_about_answers_that_are_given(write):
    with pytest.raises(UsageError, match="holds the answers of its scan"):
        run_evaluation(EvaluateConfig(write(ROWS), model="cnn"), Console(file=io.StringIO()))


NUMBERS = st.text("0123456789", max_size=6)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_the_edit_distance_is_a_distance(first, second, third):
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, second) == edit_distance(second, first)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))
