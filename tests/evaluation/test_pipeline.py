"""`digitscan evaluate` reads labelled images as a scan does, and says how well."""

import io
import json

import pytest
from PIL import Image
from rich.console import Console

from digitscan.errors import DataError, OutputError, UsageError
from digitscan.evaluation import pipeline
from digitscan.evaluation.config import EvaluateConfig
from digitscan.evaluation.pipeline import METRICS_NAME, PLOT_NAMES, run_evaluation
from digitscan.evaluation.pipeline import _list_mistakes as list_mistakes
from tests.support.command import PACKAGE_FOLDER, environment, run
from tests.support.pictures import digit_picture, encode_pages

EXAMPLES = PACKAGE_FOLDER / "examples"


def evaluate(source, **settings):
    """The scores, and what is printed in 100 columns."""
    file = io.StringIO()
    settings = {"model": "cnn"} | settings
    evaluation = run_evaluation(EvaluateConfig(source, **settings), Console(file=file, width=100))
    return evaluation, file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Six sevens, of which one is labelled 1; an empty sheet; and a file that is no image."""
    for label, count in (("7", 5), ("1", 1)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(count):
            digit_picture(50 + 10 * index).save(tmp_path / "images" / label / f"{index}.png")
    (tmp_path / "images" / "none").mkdir()
    Image.new("L", (40, 40), 255).save(tmp_path / "images" / "none" / "empty.png")
    (tmp_path / "images" / "7" / "text.png").write_text("no image")
    return tmp_path / "images"


def test_a_folder_by_label_is_read_as_in_a_scan(folder):
    evaluation, text = evaluate(folder)
    metrics = evaluation.metrics
    assert (metrics.accuracy.count, metrics.accuracy.total) == (5, 6)
    assert (metrics.wrong_ok.count, metrics.wrong_ok.total) == (1, 6)
    assert (metrics.rejected.count, metrics.negatives_rejected.count) == (0, 1)
    assert "digits read right" in text and "5 of 6" in text


def test_no_line_is_wider_than_80_columns(folder):
    file = io.StringIO()
    run_evaluation(EvaluateConfig(folder, model="cnn", against="mlp"), Console(file=file, width=80))
    assert max(map(len, file.getvalue().splitlines())) <= 80


def test_labels_may_come_from_a_csv(folder):
    truth = folder.parent / "truth.csv"
    truth.write_text("path,label\n7/0.png,7\n1/0.png,7\n")
    evaluation, _ = evaluate(folder, truth=truth)
    assert (evaluation.metrics.accuracy.count, evaluation.metrics.accuracy.total) == (2, 2)


def test_the_labels_of_the_examples_are_understood():
    evaluation, _ = evaluate(EXAMPLES / "digits", truth=EXAMPLES / "labels.csv")
    assert evaluation.metrics.accuracy.total > 20
    assert evaluation.metrics.accuracy.value > 0.9


def test_a_corrected_csv_needs_no_images(tmp_path):
    path = tmp_path / "corrected.csv"
    path.write_text(
        "path,digit,confidence,status,note,corrected\na.png,7,0.99,ok,,7\nb.png,1,0.5,review,,7\n"
    )
    evaluation, text = evaluate(path, model=None)
    assert (evaluation.metrics.accuracy.count, evaluation.metrics.accuracy.total) == (1, 2)
    assert "read by the scan that wrote it" in " ".join(text.split())
    assert evaluation.point is None and "only an audit sample tells" in " ".join(text.split())


def test_a_threshold_that_no_row_review_needs_can_reach_is_not_promised(folder):
    evaluation, text = evaluate(folder, max_wrong=0.0)
    assert evaluation.point is None or evaluation.point.wrong.count == 0
    assert "--min-confidence" in text


def test_a_corrected_csv_with_a_model_is_refused(tmp_path):
    path = tmp_path / "corrected.csv"
    path.write_text("path,digit,confidence,status,corrected\na.png,7,0.99,ok,7\n")
    with pytest.raises(UsageError, match="holds the answers of its scan: leave out --model"):
        evaluate(path)


def test_what_was_read_is_never_taken_for_a_label(folder):
    truth = folder.parent / "scan.csv"
    truth.write_text("path,digit,confidence,status,note\n7/0.png,1,0.99,ok,\n")
    with pytest.raises(DataError, match="needs a column named path and one named label"):
        evaluate(folder, truth=truth)
    truth.write_text("path,digit,confidence,status,note,corrected\n7/0.png,1,0.99,ok,,7\n")
    assert evaluate(folder, truth=truth)[0].metrics.accuracy.count == 1


def test_a_folder_in_which_no_file_can_be_read_is_refused(folder):
    truth = folder.parent / "truth.csv"
    truth.write_text("path,label\nmissing.png,7\n")
    with pytest.raises(DataError, match="none of the labelled files can be read"):
        evaluate(folder, truth=truth)
    with pytest.raises(DataError, match="is no folder: name the one in which the paths"):
        evaluate(folder / "missing", truth=truth)


def test_a_terminal_without_unicode_gets_escapes(folder):
    for width in ("30", "100"):
        done = run("evaluate", folder, env=environment(PYTHONIOENCODING="ascii", COLUMNS=width))
        assert done.returncode == 0 and done.stdout.isascii()


def test_two_models_are_compared_on_the_same_images(folder):
    evaluation, text = evaluate(folder, against="mlp")
    assert evaluation.comparison is not None
    assert "Against mlp" in text


def test_results_are_written_once_and_replaced_only_with_overwrite(folder, tmp_path):
    output = tmp_path / "results"
    evaluate(folder, output=output)
    assert sorted(path.name for path in output.iterdir()) == sorted((METRICS_NAME, *PLOT_NAMES))
    scores = json.loads((output / METRICS_NAME).read_text())
    assert scores["metrics"]["accuracy"]["value"] == pytest.approx(5 / 6)
    for name in PLOT_NAMES:
        with Image.open(output / name) as plot:
            plot.load()
    with pytest.raises(OutputError, match="exists already: name another with -o, or add --overwrite"):
        evaluate(folder, output=output)
    evaluate(folder, output=output, overwrite=True)


def test_mistakes_have_their_own_pictures_where_files_were_left_out(folder, monkeypatch):
    (folder / "0").mkdir()
    (folder / "0" / "broken.png").write_text("no image")
    drawn = []
    monkeypatch.setattr(
        pipeline, "_list_mistakes", lambda result: drawn.extend(list_mistakes(result)) or drawn
    )
    evaluate(folder, output=folder.parent / "scores")
    (mistake,) = drawn
    assert mistake.name.endswith("1/0.png") and mistake.picture.shape == (50, 50)


def test_json_on_stdout_is_all_that_is_there(folder):
    done = run("evaluate", folder, "--model", "cnn", "--json")
    scores = json.loads(done.stdout)
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [f"left out {folder / '7' / 'text.png'}: not an image: text"]
    assert scores["metrics"]["confusion"][1][7] == 1
    assert scores["point"] is None or 0 <= scores["point"]["threshold"] <= 1


def test_mnist_is_there_without_a_file(tmp_path):
    done = run("evaluate", "mnist", "--model", "mlp", "--json", cwd=tmp_path)
    scores = json.loads(done.stdout)
    assert scores["metrics"]["accuracy"]["total"] == 10_000
    assert scores["metrics"]["accuracy"]["value"] > 0.98
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: "missing",
            "missing does not exist: name a folder by label",
        ),
        (lambda folder: folder / "none", "has no labelled images"),
    ],
)
def test_a_source_that_cannot_be_used_is_one_sentence(folder, make, message):
    with pytest.raises(DataError) as caught:
        evaluate(make(folder))
    assert message in str(caught.value)


def test_an_empty_source_and_unusable_data_have_their_exit_codes(tmp_path):
    assert run("evaluate", "", cwd=tmp_path).returncode == 2
    done = run("evaluate", tmp_path, cwd=tmp_path)
    assert done.returncode == 7 and done.stderr.startswith(b"digitscan: ")


def test_each_page_of_a_file_has_the_label_of_its_folder_or_its_own(tmp_path):
    blank = digit_picture().point(lambda value: 255)
    (tmp_path / "images" / "7").mkdir(parents=True)
    (tmp_path / "images" / "7" / "forms.tif").write_bytes(encode_pages([digit_picture(), blank], "TIFF"))
    evaluation, _ = evaluate(tmp_path / "images")
    assert (evaluation.metrics.accuracy.count, evaluation.metrics.accuracy.total) == (1, 2)
    truth = tmp_path / "truth.csv"
    truth.write_text("path,label\n7/forms.tif#1,7\n7/forms.tif#2,none\n")
    evaluation, _ = evaluate(tmp_path / "images", truth=truth)
    assert (evaluation.metrics.accuracy.count, evaluation.metrics.accuracy.total) == (1, 1)
    assert (evaluation.metrics.negatives_rejected.count, evaluation.metrics.negatives_rejected.total) == (
        1,
        1,
    )
