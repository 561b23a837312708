"""The documentation is true to the program: commands, exit codes, links, packages."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from digitscan.errors import ExitCode

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "models/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def describe_commands():
    """The page that docs/make_commands.py would write now."""
    path = ROOT / "docs" / "make_commands.py"
    spec = importlib.util.spec_from_file_location("make_commands", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.describe()


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def notes_of_imaging():
    """The notes and reasons in the code of digitscan.imaging: its text of several words, and those of one."""
    notes = {"blank", "faint", "transparent"}
    for path in (ROOT / "digitscan" / "imaging").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                notes.update(re.findall(r"^[a-z]+(?: [A-Za-z]+)+", node.value))
    return notes


def packages_of_the_tree():
    """Each package of digitscan with the names of its modules."""
    folders = {path.parent for path in (ROOT / "digitscan").rglob("__init__.py")}
    return {
        ".".join(folder.relative_to(ROOT).parts): {
            path.stem for path in folder.glob("*.py") if path.name != "__init__.py"
        }
        for folder in folders
    }


def packages_of_the_table():
    """Each package with the names of its modules, as CONTRIBUTING.md lists them."""
    packages = {}
    rows = re.findall(r"^\| `(digitscan[\w.]*)` \| .+ \| (.+) \|$", read("CONTRIBUTING.md"), re.MULTILINE)
    for package, modules in rows:
        packages.setdefault(package, set()).update(re.findall(r"`(\w+)`", modules))
    return packages


def test_the_page_of_commands_is_fresh():
    stale = "docs/commands.md is stale: run python docs/make_commands.py"
    assert read("docs/commands.md") == describe_commands(), stale


def test_every_command_is_on_the_page_and_in_the_readme():
    for command in re.findall(r"^## digitscan (\w+)$", describe_commands(), re.MULTILINE):
        assert f"digitscan {command}" in read("README.md")


def test_the_readme_opens_with_its_two_commands():
    first, second = re.findall(r"^```\w*\n(.+)\n```$", read("README.md"), re.MULTILINE)[:2]
    assert first == "pip install . && digitscan scan examples/digits"
    assert second == "pip install '.[dev]' && python -m pytest"


def test_the_readme_is_short_enough_for_a_newcomer():
    assert len(read("README.md").splitlines()) < 200


def test_the_exit_codes_of_the_readme_are_those_of_the_program():
    listed = re.findall(r"^\| (\d+) \| (.+) \|$", read("README.md"), re.MULTILINE)
    assert listed == [(str(code.value), code.description) for code in ExitCode]


def test_the_page_of_notes_lists_all_that_preprocessing_gives():
    notes = notes_of_imaging()
    assert {"empty field", "box removed", "minus left out", "rotated by EXIF"} <= notes
    explained = re.findall(r"`([^`]+)`", read("docs/notes.md"))
    missing = {note for note in notes if not any(text.startswith(note) for text in explained)}
    assert not missing, "explain in docs/notes.md"


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_the_page_lead_somewhere(page):
    for link in re.findall(r'(?:\]\(|src=")(?!https?:)([^)"]+)', read(page)):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path if path else ROOT / page).resolve()
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in headings(target), f"{page}: {link}"


def test_contributing_lists_the_packages_and_modules_as_they_are():
    assert packages_of_the_table() == packages_of_the_tree()
