"""The summary: what it counts, and that a file name in it is never obeyed."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from digitscan.model.input_comparison import InputComparison
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.model.user_calibrations import Calibration
from digitscan.prediction import Prediction, Status
from digitscan.scanning.report import (
    SummaryContext,
    SummaryCounts,
    describe_model,
    describe_poor_accuracy,
    print_summary,
)


def summary(rows, width=80, **more):
    counts = SummaryCounts()
    counts.add(rows)
    context = {"model": "cnn", "seconds": 2.0, "output": "predictions.csv", "skipped": {}} | more
    file = io.StringIO()
    print_summary(counts, SummaryContext(**context), Console(file=file, width=width, highlight=False))
    return file.getvalue()


def digit(value, confidence=0.9, status=Status.OK):
    return Prediction("a.png", value, confidence, status)


def number(value, confidence=0.9, status=Status.OK):
    return Prediction("a.png", None, confidence, status, number=value)


def failed(path, note):
    return Prediction(path, None, None, Status.ERROR, note)


def cells(text, first):
    (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [first]]
    return line


def test_numbers_are_counted_by_how_many_digits_they_have():
    rows = [number("407"), number("007", 0.5, Status.REVIEW), number("0" * 16), failed("b.png", "empty file")]
    text = summary(rows, numbers=True)
    assert cells(text, "digits") == ["digits", "images", "mean", "confidence", "to", "review"]
    assert cells(text, "3") == ["3", "2", "0.700", "1"]
    assert cells(text, "16") == ["16", "1", "0.900"]
    assert cells(text, "all") == ["all", "3", "0.767", "1"]
    assert "2.0 s for 4 images" in text


def test_the_first_line_says_which_model_answered():
    assert summary([digit(3)]).splitlines()[0] == "Read by cnn"


@pytest.mark.parametrize(
    ("architecture", "expected"), [("mlp", "a.h5 (mlp, 0123456789ab)"), ("unknown", "a.h5 (0123456789ab)")]
)
def test_a_model_is_named_with_its_architecture_only_where_that_is_known(architecture, expected):
    metadata = ModelMetadata(architecture=architecture, classes=10, preprocess_version=1)
    digest = "0123456789abcdef" * 4
    assert describe_model(Model(Path("a.h5"), "a.h5", digest, metadata, Path("unused"), "")) == expected


def test_a_model_that_the_user_calibrated_is_named_so():
    metadata = ModelMetadata(architecture="unknown", classes=10, preprocess_version=1)
    calibration = Calibration("a.h5", 2.0, 0.9, pictures=1234, date="2026-11-27")
    model = Model(Path("a.h5"), "a.h5", "0" * 64, metadata, Path("unused"), "", calibration=calibration)
    assert describe_model(model) == "a.h5 (000000000000, calibrated here on 1,234 pictures, 2026-11-27)"


def test_a_model_that_reads_known_digits_badly_is_warned_of():
    metadata = ModelMetadata(architecture="unknown", classes=10, preprocess_version=1)
    model = Model(Path("a.h5"), "a.h5", "0" * 64, metadata, Path("unused"), "")
    assert describe_poor_accuracy(model) == ""
    right = {
        InputRange.ONE: 330,
        InputRange.BYTE: 485,
        InputRange.INVERTED_ONE: 50,
        InputRange.INVERTED_BYTE: 50,
    }
    poor = dataclasses.replace(model, input_comparison=InputComparison(right, 500))
    text = " ".join(summary([digit(1)], poor_accuracy=describe_poor_accuracy(poor)).split())
    assert "the model reads poorly: 66 % of known digits right; 97 % with --input-range 0..255" in text
    byte = dataclasses.replace(poor, metadata=dataclasses.replace(metadata, input_range=InputRange.BYTE))
    assert describe_poor_accuracy(byte) == ""


def test_each_digit_has_its_count_mean_confidence_and_rows_to_review():
    text = summary([digit(3, 0.9), digit(3, 0.5, Status.REVIEW), digit(7, 1.0)])
    assert cells(text, "3") == ["3", "2", "0.700", "1"]
    assert cells(text, "7") == ["7", "1", "1.000"]
    assert cells(text, "all") == ["all", "3", "0.800", "1"]
    assert "to review  1 " in text


def test_what_was_read_before_is_said_and_not_taken_for_speed():
    counts = SummaryCounts()
    for _ in counts.count_previous([digit(3)] * 4):
        pass
    counts.add([digit(3)] * 6)
    file = io.StringIO()
    print_summary(counts, SummaryContext("cnn", 2.0, "predictions.csv", {}), Console(file=file, width=80))
    assert "2.0 s for 10 images, 4 of them read before, 3 images/s" in file.getvalue()


def test_one_image_is_no_plural():
    assert "2.0 s for 1 image, " in summary([digit(3)])
    reasons = summary([failed("a", f"reason {number}") for number in range(11)])
    assert "and 1 more reason\n" in "\n".join(map(str.rstrip, reasons.splitlines())) + "\n"


def test_what_was_skipped_is_counted_by_its_reasons():
    assert "skipped  2,000 (hidden files)" in summary([digit(3)], skipped={"hidden file": 2000})
    reasons = {"no image": 3, "link to a folder": 2, "hidden folder": 1}
    assert "skipped  6 (3 no image, 2 links to folders, 1 hidden folder)" in summary([], skipped=reasons)


def test_failures_are_grouped_by_reason_with_an_example():
    rows = [failed(f"{n}.png", f"truncated {kind}") for n, kind in enumerate(["PNG", "PNG", "GIF"])]
    text = summary(rows)
    assert "failed" in text
    assert "2 truncated PNG, for example 0.png" in text and "1 truncated GIF: 2.png" in text


def test_a_million_kinds_of_failure_give_ten_lines():
    counts = summary([failed("a", f"reason {number}") for number in range(1000)])
    assert "and 990 more reasons" in counts
    assert len(counts.splitlines()) < 20


def test_what_had_no_digit_and_what_was_skipped_is_said_by_reason():
    rows = [
        Prediction("a", None, None, Status.NO_DIGIT, note)
        for note in ("blank; inverted", "blank", "several digits")
    ]
    text = summary(rows, skipped={"no image": 1234}, unreadable_folders=("secret/",))
    assert "3 (2 blank, 1 several digits)" in text
    assert "1,234 (no image)" in text
    assert "could not be opened: secret/" in text


def test_time_rate_and_place_are_said():
    text = summary([digit(1)] * 10)
    assert "2.0 s for 10 images, 5 images/s" in text
    assert "predictions.csv" in text
    assert "2 h 5 min" in summary([digit(1)], seconds=7500)


def test_a_model_without_calibration_is_said():
    assert "not calibrated" in summary([digit(1)], is_calibrated=False)


def test_a_file_name_is_shown_as_text_and_never_obeyed():
    text = summary([failed("[bold]a[/bold]\x1b[2J\n:smile:.png", "empty file")], output="[red]x[/red].csv")
    assert "[bold]a[/bold]\\x1b[2J\\n:smile:.png" in text
    assert "[red]x[/red].csv" in text


def test_a_narrow_terminal_loses_no_word():
    text = summary([failed("folder/" * 20 + "a.png", "damaged PNG: x"), digit(3)], width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "damaged PNG" in " ".join(text.split())
