"""How LibreOffice reads our CSV. Needs its command `soffice` (Debian: libreoffice-calc-nogui)."""

import csv
import io
import subprocess
from itertools import cycle, islice
from xml.etree import ElementTree

import pytest

from digitscan.csv_cells import unescape_formula
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter
from tests.support.command import run
from tests.support.pictures import digit_picture

NAMES = [
    "=1+1.png",
    "+1+1.png",
    "-2+3.png",
    "@SUM(1,1).png",
    '=HYPERLINK("http://example.org";"a")',
    "=cmd|' /C calc'!A0.png",
    " =1+1.png",
    '"=1+1".png',
    "'=1+1.png",
    "'plain.png",
    "\t=1+1.png",
    "\r=1+1.png",
    "\n=1+1.png",
    "\uff1d1+1.png",
    "a,b;c.png",
    'quo"te.png',
    "new\nline.png",
    "Größe ☃ \U0001f600.png",
    "plain.png",
    "O'-b.png",
    *(
        name.replace(";", separator)
        for separator in ";\t|\r\n"
        for name in ("a;=1.png", "a; =1", 'a;"=1"', "a;'=1", '"a;=1', 'a";=1', "a;-1/b;=2;@c.png")
    ),
]
NOTES = ["=2+2", "inverted; =2+2", 'a "b";=2+2;"=2+2"', "a|=2+2\t=2+2", ""]
COMMA = "44"
SEPARATORS = [COMMA, "59", "9", "124", "44/59/9", "44/59/9/124"]
"""The codes of comma, semicolon, tab and bar; LibreOffice's dialog splits at the first three by default."""
ENGLISH, GERMAN = "1033", "1031"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def read_with_libreoffice(tmp_path, separators=COMMA, language=ENGLISH, **options):
    """Return the rows below the header as LibreOffice shows them, and all formulas that it found."""
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        CsvWriter(file, CsvFormat(**options)).write(map(prediction, NAMES, cycle(NOTES)))
    # Double quotes, UTF-8, from line 1; numbers are detected and formulas are evaluated: the worst case.
    import_filter = f"CSV:{separators},34,76,1,,{language},false,true,true,false,false,1,true"
    command = ["soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile"]
    command += ["--infilter=" + import_filter, "--convert-to", "fods", "--outdir", tmp_path, path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    tree = ElementTree.parse(tmp_path / "rows.fods")
    formulas = [cell.get(TABLE + "formula") for cell in tree.iter(TABLE + "table-cell")]
    rows = [
        [text for cell in row.iter(TABLE + "table-cell") for text in read_cell(cell)][:5]
        for row in list(tree.iter(TABLE + "table-row"))[1 : len(NAMES) + 1]
    ]
    return rows, [formula for formula in formulas if formula]


def prediction(name, note):
    return Prediction(name, 7, 0.25, Status.REVIEW, note)


def read_cell(cell):
    """Return the text of a cell as often as it is repeated."""
    text = "\n".join(map(read_text, cell.iter(TEXT + "p")))
    return [text] * min(5, int(cell.get(TABLE + "number-columns-repeated", "1")))


def read_text(paragraph):
    """Return a paragraph's text, in which tabs and repeated blanks are elements of their own."""
    texts = [paragraph.text or ""]
    for element in paragraph:
        spaces = " " * int(element.get(TEXT + "c", "1"))
        texts.append({TEXT + "tab": "\t", TEXT + "s": spaces}.get(element.tag, ""))
        texts.append((element.text or "") + (element.tail or ""))
    return "".join(texts)


@pytest.mark.parametrize("excel", [False, True])
def test_every_cell_comes_back(tmp_path, excel):
    rows, formulas = read_with_libreoffice(tmp_path, excel=excel)
    assert formulas == []
    # A spreadsheet has no lone CR: it shows a line break.
    assert [unescape_formula(row[0]) for row in rows] == [name.replace("\r", "\n") for name in NAMES]
    assert {tuple(row[1:4]) for row in rows} == {("7", "0.25", "review")}
    assert [unescape_formula(row[4]) for row in rows] == list(islice(cycle(NOTES), len(NAMES)))


@pytest.mark.parametrize(("language", "excel"), [(ENGLISH, False), (GERMAN, True)])
@pytest.mark.parametrize("separators", SEPARATORS)
def test_no_cell_is_evaluated_wherever_lines_are_split(tmp_path, separators, language, excel):
    _, formulas = read_with_libreoffice(tmp_path, separators, language, excel=excel)
    assert formulas == []


@pytest.mark.parametrize("separators", SEPARATORS)
def test_raw_cells_are_evaluated(tmp_path, separators):
    """Without this, the other tests could not fail."""
    _, formulas = read_with_libreoffice(tmp_path, separators, raw=True)
    assert formulas


SEMICOLON_UTF8, COMMA_LATIN1 = "59,34,76", "44,34,1"


def save_with_libreoffice(path, delimiter_and_encoding, language):
    """Open a CSV and save it as CSV again."""
    folder = path.parent / "saved"
    command = ["soffice", "--headless", f"-env:UserInstallation=file://{path.parent}/profile"]
    command += [f"--infilter=CSV:44,34,76,1,,{language},false,true"]
    output_filter = f"csv:Text - txt - csv (StarCalc):{delimiter_and_encoding},1,,{language},false,true"
    command += ["--convert-to", output_filter, "--outdir", folder, path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (folder / path.name).replace(path)


@pytest.mark.parametrize(
    ("saved", "language"),
    [(SEMICOLON_UTF8, GERMAN), (SEMICOLON_UTF8, ENGLISH), (COMMA_LATIN1, ENGLISH)],
)
@pytest.mark.parametrize("option", ["--resume", "--retry-errors", "--update"])
def test_an_output_that_libreoffice_has_saved_goes_on_with_the_columns_added_there(
    tmp_path, saved, language, option
):
    images, output = tmp_path / "images", tmp_path / "rows.csv"
    images.mkdir()
    for name in ("=1+1.png", "0001.png", "a,b;c.png", "plain.png"):
        digit_picture().save(images / name)
    assert run("scan", images, "-o", output).returncode == 0
    header, *rows = output.read_text().splitlines()
    added = [f'{line},{index},"seen; by ""Anna"""' for index, line in enumerate(rows)]
    output.write_text("\n".join([f"{header},corrected,remark", *added]) + "\n")
    before = output.read_text()
    save_with_libreoffice(output, saved, language)
    digit_picture().save(images / "z.png")
    done = run("scan", images, "-o", output, option)
    assert done.returncode == 0, done.stderr
    after = output.read_text()
    assert [line.split(",")[:2] for line in after.splitlines()][-1] == ["z.png", "7"]
    assert read_cells(after)[:-1] == read_cells(before)


def read_cells(text):
    """Return the cells of a CSV, with its numbers as numbers."""
    return [
        [*row[:2], row[2] if index == 0 else float(row[2]), *row[3:]]
        for index, row in enumerate(csv.reader(io.StringIO(text, newline="")))
    ]
