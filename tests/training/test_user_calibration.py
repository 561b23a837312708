"""`digitscan calibrate`: the user's labelled pictures decide which rows of a model are `ok`."""

import csv
import io
import re

import pytest
from PIL import Image
from rich.console import Console

from digitscan.errors import DataError, ExitCode, ModelError, UsageError
from digitscan.evaluation.config import EvaluateConfig
from digitscan.evaluation.pipeline import run_evaluation
from digitscan.model.input_range import InputRange
from digitscan.model.registry import load_model
from digitscan.model.user_calibrations import find_calibration
from digitscan.training.config import CalibrateConfig
from digitscan.training.user_calibration import run_calibration
from tests.support.command import environment, run
from tests.support.foreign_models import build_reader
from tests.support.line_models import provide_line_model

MAX_WRONG = 0.05
"""For it, 59 pictures are enough if all are read right."""


@pytest.fixture(scope="module")
def folder(mnist, tmp_path_factory):
    """100 of MNIST's test images in folders by label, as dark ink on white."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, (image, label) in enumerate(zip(mnist.x_test[:100], mnist.y_test, strict=False)):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(255 - image).save(folder / str(label) / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def foreign_path(tmp_path_factory):
    """A model for 0..255 that reads four of five digits right and is always sure."""
    path = tmp_path_factory.mktemp("models") / "theirs.h5"
    build_reader(InputRange.BYTE, sharpness=20).save(path)
    return path


def calibrate(model, source, **settings):
    """The calibration, and what is printed in 100 columns."""
    file = io.StringIO()
    settings = {"max_wrong": MAX_WRONG} | settings
    calibration = run_calibration(CalibrateConfig(model, source, **settings), Console(file=file, width=100))
    return calibration, file.getvalue()


def test_it_is_stored_and_the_scores_say_what_it_promised(folder):
    calibration, text = calibrate("mlp", folder)
    assert load_model("mlp").calibration == calibration
    assert load_model("mlp").metadata.ok_confidence == calibration.ok_confidence
    assert (calibration.model, calibration.pictures) == ("mlp", 100)
    ok = int(re.search(r"\nok +(\d+) ", text)[1])
    wrong = int(re.search(r"wrong among ok +(\d+); with 95 % confidence, at most", text)[1])
    file = io.StringIO()
    evaluation = run_evaluation(EvaluateConfig(folder, model="mlp"), Console(file=file, width=200))
    assert (evaluation.metrics.wrong_ok.total, evaluation.metrics.wrong_ok.count) == (ok, wrong)
    assert ok >= 59 and wrong / ok <= MAX_WRONG
    assert calibration.describe() in " ".join(file.getvalue().split())


def test_too_few_pictures_are_told_how_many_are_needed_and_nothing_is_stored(folder):
    with pytest.raises(DataError, match=r"at most 0\.3 % of such rows are wrong: 998 are needed") as caught:
        calibrate("mlp", folder, max_wrong=0.003)
    assert caught.value.exit_code == ExitCode.TRAINING
    assert load_model("mlp").calibration is None


def test_wrong_labels_are_named_where_they_leave_no_threshold(folder, tmp_path):
    for source in folder.glob("*/*.png"):
        target = tmp_path / str(9 - int(source.parent.name)) / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    with pytest.raises(DataError, match=r"Are the labels right \(.*/2/\d+\.png is 2 and read as 7"):
        calibrate("mlp", tmp_path)
    assert load_model("mlp").calibration is None


def test_a_picture_of_no_digit_that_would_be_ok_counts_as_wrong(folder, tmp_path):
    for name in "0123456789":
        (tmp_path / name).symlink_to(folder / name)
    calibrate("mlp", tmp_path)
    (tmp_path / "none").mkdir()
    for source in folder.glob("7/*.png"):
        (tmp_path / "none" / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match=r"is none and read as 7"):
        calibrate("mlp", tmp_path)


def test_a_model_that_is_far_too_sure_gets_a_high_temperature(folder, foreign_path):
    settings = {"input_range": InputRange.BYTE, "max_wrong": 0.3}
    calibration, _ = calibrate(str(foreign_path), folder, **settings)
    assert calibration.temperature > 5
    assert load_model(foreign_path, input_range="0..255").calibration == calibration


def test_pictures_that_are_all_read_right_make_no_model_boundlessly_sure(folder):
    calibration, _ = calibrate("cnn", folder)
    assert calibration.temperature > 0.3


def test_corrected_rows_and_a_csv_of_labels_are_pictures_too(folder, tmp_path):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    truth, corrected = tmp_path / "truth.csv", tmp_path / "corrected.csv"
    truth.write_text("path,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    corrected.write_text("path,digit,corrected\n" + "".join(f"{name},,{name[0]}\n" for name in names))
    by_folder, _ = calibrate("mlp", folder)
    assert calibrate("mlp", folder, truth=truth)[0] == by_folder
    assert calibrate("mlp", corrected, images=folder)[0] == by_folder


def test_calibrating_again_starts_from_the_model_and_not_from_the_last_calibration(folder):
    first, _ = calibrate("mlp", folder)
    assert calibrate("mlp", folder)[0] == first


def test_a_file_that_cannot_be_read_is_named_and_left_out(folder, tmp_path, capsys):
    for name in "0123456789":
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "text.png").write_text("no image")
    calibration, _ = calibrate("mlp", tmp_path)
    assert calibration.pictures == 100
    assert "left out" in capsys.readouterr().err


def test_pictures_in_which_nothing_is_read_are_refused(tmp_path):
    (tmp_path / "7").mkdir()
    Image.new("L", (40, 40), 255).save(tmp_path / "7" / "empty.png")
    with pytest.raises(DataError, match="no digit was found in any labelled picture"):
        calibrate("mlp", tmp_path)
    (tmp_path / "7" / "empty.png").write_text("no image")
    with pytest.raises(DataError, match="none of the labelled pictures can be read"):
        calibrate("mlp", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        calibrate("mlp", tmp_path / "missing")


def test_a_model_of_numbers_is_refused_in_one_sentence(tmp_path):
    with (
        provide_line_model(tmp_path) as path,
        pytest.raises(ModelError, match="only models of single digits can be calibrated so far"),
    ):
        calibrate(path, tmp_path)


def test_what_is_stored_can_be_forgotten(folder, capsys):
    calibrate("mlp", folder)
    for message in ("mlp is no longer calibrated", "no calibration of mlp was stored"):
        assert run_calibration(CalibrateConfig("mlp", forget=True)) is None
        assert message in capsys.readouterr().err
    assert find_calibration(load_model("mlp").digest, InputRange.ONE) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name the labelled pictures"),
        ({"source": "a", "forget": True}, "leave out the pictures"),
        ({"source": "a", "max_wrong": 0.0}, "max_wrong must be more than 0"),
        ({"source": "a", "max_wrong": 1.0}, "max_wrong must be more than 0"),
        ({"source": "a", "max_wrong": float("nan")}, "max_wrong must be more than 0"),
    ],
)
def test_settings_that_do_not_fit_are_a_wrong_use(settings, message):
    with pytest.raises(UsageError, match=message):
        CalibrateConfig("mlp", **settings)


def test_a_foreign_model_is_calibrated_and_then_scans_with_ok_rows_and_resumes_only_with_it(
    folder, foreign_path, tmp_path
):
    variables = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "DATA")}
    options = {"cwd": tmp_path, "env": environment(**variables)}
    scan = ("scan", folder, "--model", foreign_path, "--input-range", "0..255", "-o", "rows.csv")
    assert run(*scan, **options).returncode == ExitCode.OK
    assert read_statuses(tmp_path / "rows.csv") == {"review"}
    calibration = ("calibrate", foreign_path, folder, "--input-range", "0..255", "--max-wrong", "0.3")
    result = run(*calibration, **options)
    assert result.returncode == ExitCode.OK, result.stderr
    result = run(*scan, "--resume", **options)
    assert result.returncode == ExitCode.OUTPUT
    assert b"calibration was none and is" in result.stderr
    result = run(*scan, "--overwrite", **options)
    assert "calibrated here on 100 pictures" in " ".join(result.stderr.decode().split())
    listed = run("models", **options).stdout.decode()
    assert f"{foreign_path}: calibrated here on 100 pictures, " in " ".join(listed.split())
    assert "ok" in read_statuses(tmp_path / "rows.csv")
    assert run("calibrate", foreign_path, "--forget", **options).returncode == ExitCode.OK
    assert run(*scan, "--overwrite", **options).returncode == ExitCode.OK
    assert read_statuses(tmp_path / "rows.csv") == {"review"}
    assert run("calibrate", "none.h5", folder, **options).returncode == ExitCode.MODEL
    assert run("calibrate", "mlp", **options).returncode == ExitCode.USAGE


def read_statuses(path):
    with path.open(newline="") as file:
        return {row["status"] for row in csv.DictReader(file)}
