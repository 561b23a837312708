"""A corrected CSV tells how good a scan was, and nothing else is taken for one."""

import pytest

from digitscan.csv_cells import escape_formula
from digitscan.errors import DataError
from digitscan.evaluation.corrected_csv import read_corrected_csv
from digitscan.evaluation.metrics import NO_DIGIT

HEADER = "path,digit,confidence,status,note,corrected,audit\n"


@pytest.fixture
def write(tmp_path):
    """A function that writes rows as a corrected CSV and returns its path."""

    def write(rows, header=HEADER):
        path = tmp_path / "corrected.csv"
        path.write_text(header + rows)
        return path

    return write


def test_only_rows_that_were_looked_at_count(write):
    answers = read_corrected_csv(
        write(
            "a.png,7,0.9990,ok,,7,\n"
            "b.png,7,0.9990,ok,,,\n"
            "c.png,7,0.6000,review,doubtful,1,\n"
            "d.png,,,no-digit,blank,none,\n"
            "e.png,3,0.9950,ok,,none,\n"
            "f.png,,,error,damaged,4,\n"
        )
    ).answers
    assert answers.names == ("a.png", "c.png", "d.png", "e.png", "f.png")
    assert answers.labels.tolist() == [7, 1, NO_DIGIT, NO_DIGIT, 4]
    assert answers.predictions.tolist() == [7, 7, NO_DIGIT, 3, NO_DIGIT]
    assert answers.is_ok.tolist() == [True, False, False, True, False]
    assert answers.confidences.tolist() == [0.999, 0.6, 0.0, 0.995, 0.0]


def test_a_row_that_needs_review_for_another_reason_is_ok_with_no_threshold(write):
    answers = read_corrected_csv(
        write("a.png,7,0.9,review,doubtful,7,\nb.png,7,0.99,review,box removed; point left out,7,\n")
    ).answers
    assert answers.may_be_ok.tolist() == [True, False]


def test_rows_drawn_at_random_measure_the_ok_rows(write):
    rows = "".join(f"{index}.png,7,0.99,ok,,{7 if index else 1},yes\n" for index in range(50))
    audit = read_corrected_csv(write(rows + "x.png,7,0.5,review,,1,\n")).audit
    assert (audit.count, audit.total) == (1, 50)
    assert read_corrected_csv(write("x.png,7,0.5,review,,1,\n")).audit is None


def test_a_spreadsheet_may_have_saved_it(write):
    csv = read_corrected_csv(
        write("a.png;7;0,9990;ok;;7.0\n", header="\ufeffpath;digit;confidence;status;note;corrected\n")
    )
    assert csv.answers.confidences.tolist() == [0.999]


def test_names_that_were_made_harmless_are_as_they_were(write):
    name = "=1+1.png"
    csv = read_corrected_csv(write(f"{escape_formula(name)},7,0.9,ok,,7,\n"))
    assert csv.answers.names == (name,)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "path,digit,confidence,status\n",
            "a.png,7,0.9,ok\n",
            "no column named corrected: correct the rows",
        ),
        ("name,corrected\n", "a.png,7\n", "no column named path or digit or confidence or status"),
        (HEADER, "a.png,7,0.9,ok,,,\n", "no row is corrected"),
        (HEADER, "a.png,7,0.9,ok,,77,\n", "line 2: '77' is no label"),
        (HEADER, "a.png,7,0.9,good,,7,\n", "line 2: 'good' is no status: expected ok, review"),
        (HEADER, "a.png,7,much,ok,,7,\n", "line 2: 'much' is no confidence"),
        (HEADER, "a.png,7,nan,ok,,7,\n", "line 2: 'nan' is no confidence"),
        (HEADER, "a.png,7,0.9,ok,,7,\na.png,7,0.9,ok,,1,\n", "line 3: a.png is corrected twice"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(write, header, rows, message):
    with pytest.raises(DataError) as caught:
        read_corrected_csv(write(rows, header))
    assert message in str(caught.value)
