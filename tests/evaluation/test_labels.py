"""Labels come from folders' names or a CSV, as people and spreadsheets save it."""

import hypothesis
import pytest
from hypothesis import strategies as st

from digitscan.errors import DataError
from digitscan.evaluation.labels import (
    NumberLabels,
    WholeNumberError,
    list_labelled_folder,
    parse_label,
    read_table,
    read_truth,
)
from digitscan.evaluation.metrics import NO_DIGIT


def test_a_subfolder_names_the_label_of_its_files(tmp_path):
    used = ("7/b.png", "7/a.png", "0/c.png", "none/letter.png")
    leftovers = ("7/.hidden.png", "7/~$a.png", "7/Thumbs.db", "7/a.png.part")
    for name in (*used, *leftovers, "other/x.png", "7/sub/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = list_labelled_folder(tmp_path)
    assert [(file.path.relative_to(tmp_path).as_posix(), file.label) for file in files] == [
        ("0/c.png", 0),
        ("7/a.png", 7),
        ("7/b.png", 7),
        ("none/letter.png", NO_DIGIT),
    ]


def test_a_folder_without_labels_says_what_is_expected(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="no labelled images: expected a subfolder for each digit"):
        list_labelled_folder(tmp_path)


def name_numbers(files, numbers):
    """The name of each file and the number that its label stands for, "" for none."""
    names = ("", *numbers.numbers)
    return [(file.path.name, names[file.label - NO_DIGIT]) for file in files]


def test_a_subfolder_may_name_a_whole_number_and_its_zeros_count(tmp_path):
    for name in ("407/b.png", "407/a.png", "07/c.png", "7/d.png", "none/word.png", "4.5/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    numbers = NumberLabels()
    files = list_labelled_folder(tmp_path, numbers)
    assert name_numbers(files, numbers) == [
        ("c.png", "07"),
        ("a.png", "407"),
        ("b.png", "407"),
        ("d.png", "7"),
        ("word.png", ""),
    ]
    assert [file.path.name for file in list_labelled_folder(tmp_path)] == ["d.png", "word.png"]


def test_whole_numbers_are_told_from_other_folders_without_labels(tmp_path):
    with pytest.raises(DataError, match=r"a subfolder for each number, such as .*407.a\.png"):
        list_labelled_folder(tmp_path, NumberLabels())
    (tmp_path / "7").mkdir()
    with pytest.raises(DataError) as caught:
        list_labelled_folder(tmp_path)
    assert not isinstance(caught.value, WholeNumberError)
    (tmp_path / "407").mkdir()
    with pytest.raises(WholeNumberError, match="a subfolder for each digit"):
        list_labelled_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\na.png,407\nb.png,\nc.png,none\nd.png,007\n", ["407", "", "007"]),
        ("path;label\na.png;407.0\nb.png;X\n", ["407", ""]),
        ("path,number,note,corrected\na.png,7.0,in full: 007,7.0\nb.png,12,,13\n", ["007", "13"]),
        ("path,number,label\na.png,12,407\n", ["407"]),
    ],
)
def test_a_csv_may_label_whole_numbers(tmp_path, text, expected):
    (tmp_path / "labels.csv").write_text(text)
    numbers = NumberLabels()
    files = read_truth(tmp_path / "labels.csv", tmp_path, numbers)
    assert [number for _, number in name_numbers(files, numbers)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,12.5\n", "line 2: '12.5' is no number: expected digits, none for no number"),
        ("path,label\na.png,7\na.png,07\n", "line 3: a.png has two different labels"),
        ("path,label\na.png,\n", "labels no image"),
    ],
)
def test_a_csv_of_numbers_that_cannot_be_used_says_why(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_truth(tmp_path / "labels.csv", tmp_path, NumberLabels())
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["path,label\na.png,407\n", "path,number,note,corrected\na.png,407,,407\n"])
def test_whole_numbers_are_told_from_labels_that_are_none(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(WholeNumberError):
        read_truth(tmp_path / "labels.csv", tmp_path)


@hypothesis.given(st.lists(st.text("0123456789", max_size=5)))
def test_each_number_has_one_label_from_which_it_is_found_again(texts):
    numbers = NumberLabels()
    labels = [numbers.encode(text) for text in texts]
    assert [("", *numbers.numbers)[label - NO_DIGIT] for label in labels] == texts
    assert numbers.encode(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,7\nb.png,\nc.png,none\n",
        '\ufeffPath;Label;remark\r\na.png;7;"x;y"\r\nb.png;;\r\nc.png;None;\r\n',
        "remark\tlabel\tpath\n\t7.0\ta.png\n\t\tb.png\n\tNONE\tc.png",
        "path,corrected\n\na.png,7\nb.png\nc.png, none \na.png,7\n",
        "sep=;\r\npath;label;;\r\na.png;7;;\r\nb.png;;;\r\nc.png;X;;\r\n",
    ],
)
def test_a_csv_of_labels_may_be_saved_by_any_spreadsheet(tmp_path, text):
    (tmp_path / "labels.csv").write_bytes(text.encode())
    files = read_truth(tmp_path / "labels.csv", tmp_path / "images")
    assert [(file.path, file.label) for file in files] == [
        (tmp_path / "images" / "a.png", 7),
        (tmp_path / "images" / "c.png", NO_DIGIT),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,what\na.png,7\n", "needs a column named path and one named label; it has path, what"),
        ("path,label\na.png,12\n", "line 2: '12' is no label: expected 0 to 9, none for no digit"),
        ("path,label\na.png,7\na.png,1\n", "line 3: a.png has two different labels"),
        ("path,label\na.png,\n", "labels no image"),
        ('path,label\n"a.png,7\n', "line 2: it is no CSV"),
        ("path,label\na.png,7,more\n", "line 2: a row has more cells than the first line has names"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_truth(tmp_path / "labels.csv", tmp_path)
    assert message in str(caught.value)


def test_files_that_are_no_csv_are_refused(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_table(tmp_path / "picture.csv")
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "missing.csv")


@hypothesis.given(st.text())
def test_any_cell_is_a_label_or_refused_with_its_line(tmp_path_factory, cell):
    try:
        label = parse_label(cell, tmp_path_factory.getbasetemp(), 5)
    except DataError as error:
        label = None if "line 5" in str(error) else -1
    assert label is None or label in range(11)


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    try:
        table = read_table(path)
    except DataError:
        return
    for line, row in table.rows:
        assert line > 0 and set(row) == set(table.columns)
