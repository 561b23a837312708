"""The docs say what the program does."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def made_commands():
    path = ROOT / "docs" / "make_commands.py"
    spec = importlib.util.spec_from_file_location("make_commands", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.describe()


def test_the_page_of_commands_is_fresh() -> None:
    stale = "docs/commands.md is stale: run python docs/make_commands.py"
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made_commands(), stale


def test_every_command_is_on_the_page_and_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in re.findall(r"^## digitscan (\w+)$", made_commands(), re.MULTILINE):
        assert f"digitscan {command}" in readme


def test_the_readme_opens_with_its_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```\w*\n(.+)\n```$", readme, re.MULTILINE)[:2]
    assert first == "pip install . && digitscan scan examples/digits"
    assert second == "pip install '.[dev]' && python -m pytest"


def test_what_the_readme_links_to_is_there() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "models/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_the_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    from digitscan import errors

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)}
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.DigitscanError)
    }
    assert codes <= listed
    assert {0, errors.INTERRUPTED, errors.TERMINATED} <= listed
