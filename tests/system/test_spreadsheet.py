"""How LibreOffice reads our CSV. Needs its command `soffice` (Debian: libreoffice-calc-nogui)."""

import subprocess
from xml.etree import ElementTree

import pytest

from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvFormat, CsvWriter, unescape_formula

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
]
# Comma, double quote, UTF-8, from line 1; numbers are detected and formulas are evaluated: the worst case.
IMPORT_FILTER = "CSV:44,34,76,1,,0,false,true,true,false,false,1,true"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def read_with_libreoffice(tmp_path, csv_format):
    """Return the rows below the header as LibreOffice shows them, and all formulas that it found."""
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        rows = [Prediction(name, 7, 0.25, Status.REVIEW, "=2+2") for name in NAMES]
        CsvWriter(file, csv_format).write(rows)
    command = ["soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile"]
    command += ["--infilter=" + IMPORT_FILTER, "--convert-to", "fods", "--outdir", tmp_path, path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    tree = ElementTree.parse(tmp_path / "rows.fods")
    formulas = [cell.get(TABLE + "formula") for cell in tree.iter(TABLE + "table-cell")]
    rows = []
    for row in list(tree.iter(TABLE + "table-row"))[1 : len(NAMES) + 1]:
        rows.append(
            ["\n".join(map(read_text, cell.iter(TEXT + "p"))) for cell in row.iter(TABLE + "table-cell")][:5]
        )
    return rows, [formula for formula in formulas if formula]


def read_text(paragraph):
    """Return a paragraph's text, in which tabs and repeated blanks are elements of their own."""
    texts = [paragraph.text or ""]
    for element in paragraph:
        spaces = " " * int(element.get(TEXT + "c", "1"))
        texts.append({TEXT + "tab": "\t", TEXT + "s": spaces}.get(element.tag, ""))
        texts.append((element.text or "") + (element.tail or ""))
    return "".join(texts)


@pytest.mark.parametrize("excel", [False, True])
def test_no_name_is_evaluated_and_every_cell_comes_back(tmp_path, excel):
    rows, formulas = read_with_libreoffice(tmp_path, CsvFormat(excel=excel))
    assert formulas == []
    # A spreadsheet has no lone CR: it shows a line break.
    assert [unescape_formula(row[0]) for row in rows] == [name.replace("\r", "\n") for name in NAMES]
    assert {tuple(row[1:]) for row in rows} == {("7", "0.25", "review", "'=2+2")}


def test_raw_names_are_evaluated(tmp_path):
    """Without this, the other test could not fail."""
    _, formulas = read_with_libreoffice(tmp_path, CsvFormat(raw=True))
    assert len(formulas) > len(NAMES)
