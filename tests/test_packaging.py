"""What pip and git see of the project."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_for_a_python_that_is_too_old_nothing_is_downloaded(dependency):
    """Otherwise pip downloads everything before it says that the Python is too old, or fails without."""
    oldest = next(iter(SpecifierSet(PROJECT["requires-python"]))).version
    linux = {"sys_platform": "linux", "platform_machine": "x86_64"}
    marker = Requirement(dependency).marker
    assert marker is not None and marker.evaluate({"python_version": oldest, **linux})
    assert not marker.evaluate({"python_version": "3.10", **linux})


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.csv.json", "predictions-2.csv.json"])
def test_git_ignores_what_the_first_command_of_the_readme_writes(tmp_path, name):
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert subprocess.run(["git", "check-ignore", "-q", name], cwd=tmp_path, check=False).returncode == 0
