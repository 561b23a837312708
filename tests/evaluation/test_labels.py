"""Labels come from folders' names or a CSV, as people and spreadsheets save it."""

import hypothesis
import pytest
from hypothesis import strategies as st

from digitscan.errors import DataError
from digitscan.evaluation.labels import list_labelled_folder, parse_label, read_table, read_truth
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
