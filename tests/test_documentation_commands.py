"""Every command and every Python example of the README and of docs/ runs, so that none of them goes stale.

Each page is followed from top to bottom: first its shell commands, then its Python blocks as one program. All
pages share one folder, where a few small pictures stand in for the folders that the pages speak of.
"""

import re
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from digitscan.cli import app
from digitscan.errors import ExitCode
from digitscan.model.input_range import InputRange
from tests.support.command import environment, run, run_code, run_shell
from tests.support.foreign_models import build_reader
from tests.support.pen_strokes import write_unipen
from tests.support.training_data import save_few_digits

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [
    "README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "commands.md"),
]

# What is not run as it is written.
INSTALLED_ALREADY = "pip install . && "
NOT_RUN = ("pip install '.[dev]' && python -m pytest",)  # this very test run
# They take minutes to hours.
HELP_ONLY = ("python -m benchmarks.", "python -m tests.stress.", "digitscan train --arch line")
FEW_IMAGES = "--data few.npz"  # in place of MNIST's 60,000
ONE_EPOCH = "--epochs 1 --no-plots --overwrite"
PYTHON_SUBSTITUTIONS = {"seed=1)": 'seed=1, data=Path("few.npz"), epochs=1)'}

# Commands that end with another exit code than 0.
EXIT_CODES = {
    "digitscan scan ./year": ExitCode.UNREADABLE_FILES,  # that folder holds a broken file
    "digitscan calibrate theirs.h5 mine": ExitCode.TRAINING,  # that folder holds too few pictures
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all that the pages name: pictures, some labelled or broken, training data, UNIPEN."""
    folder = tmp_path_factory.mktemp("documentation")
    for name in ("examples/digits", "images", "more", "year"):
        shutil.copytree(EXAMPLES / "digits", folder / name)
    shutil.copytree(EXAMPLES / "numbers", folder / "examples" / "numbers")
    shutil.copy(EXAMPLES / "numbers.csv", folder / "examples")
    (folder / "amounts" / "407").mkdir(parents=True)
    shutil.copy(EXAMPLES / "numbers" / "plain.png", folder / "amounts" / "407")
    shutil.copy(EXAMPLES / "trouble" / "broken.png", folder / "year")
    for place in (folder, folder / "images"):
        shutil.copy(EXAMPLES / "digits" / "thick-pen.png", place / "a.png")
        shutil.copy(EXAMPLES / "digits" / "shadow.jpg", place / "b.jpg")
    shutil.copy(EXAMPLES / "labels.csv", folder / "examples")
    for line in (EXAMPLES / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]:
        name, label = line.split(",")[:2]
        if label:
            (folder / "mine" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(EXAMPLES / "digits" / name, folder / "mine" / label)
    assert run("scan", "images", "-o", "predictions.csv", cwd=folder).returncode == ExitCode.OK
    header, *rows = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    corrected = [f"{header},corrected", *(f"{row},{row.split(',')[1]}" for row in rows)]
    (folder / "predictions-corrected.csv").write_text("\n".join(corrected), encoding="utf-8")
    build_reader(InputRange.ONE).save(folder / "theirs.h5")
    write_unipen(folder / "train_r01_v07")
    shutil.copytree(folder / "train_r01_v07" / "data" / "1a", folder / "train_r01_v07" / "data" / "1b")
    save_few_digits(folder / "few.npz", train_count=200, test_count=50)
    return folder


@pytest.fixture(scope="module")
def commands_that_ran():
    """The commands that earlier pages have run: each runs once."""
    return set()


def code_blocks(page, *languages):
    """The contents of a page's code blocks in one of these languages, "" for none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in blocks if language in languages]


def shell_commands(page):
    """A page's shell commands, one line each, without comments."""
    text = "".join(code_blocks(page, "", "sh")).replace("\\\n", " ")
    return [re.sub(r"\s+# .*", "", line) for line in text.splitlines()]


def shorten(command):
    """Return a command of a page as it is to be run."""
    command = command.removeprefix(INSTALLED_ALREADY)
    if not command.startswith("digitscan train"):
        return command
    if "--add" in command:
        return f"{command.replace('--from cnn', '--from mlp')} --force --overwrite"
    command = re.sub(r" --(epochs \S+|overwrite)", "", command)
    if "--ensemble" in command:
        return f"{command} {FEW_IMAGES} --no-plots --overwrite"
    return " ".join([command, ONE_EPOCH, *([] if "--data" in command else [FEW_IMAGES])])


def identify(command):
    """Return the same for commands that do the same: two trainings differ by more than their output."""
    if not command.startswith("digitscan train"):
        return command
    return " ".join(sorted(re.sub(r" -o \S+", "", command).split()))


def check_help(command, folder):
    """Check that the help of a command or a Python module names all options, without running it."""
    module = re.match(r"python -m \S+|digitscan \w+", command)[0]
    done = run_shell(f"{module} --help", cwd=folder)
    assert done.returncode == 0, done.stderr
    for option in re.findall(r" (--[\w-]+)", command):
        assert option in done.stdout.decode(), f"{module} has no option {option}"


def own_folders(folder):
    """An environment in which what is known of models is kept in the folder, not in the user's own."""
    return environment(XDG_CACHE_HOME=str(folder / "cache"), XDG_DATA_HOME=str(folder / "data"))


def expected_exit_code(command):
    return next((code for start, code in EXIT_CODES.items() if command.startswith(start)), ExitCode.OK)


def run_command(page, command, folder):
    """Run a command of a page, or check what can be checked of it in a short time."""
    if command.startswith(HELP_ONLY):
        check_help(command, folder)
    else:
        assert command.startswith(("digitscan ", "python -m ")), f"{page}: what is {command!r}?"
        done = run_shell(f"set -o pipefail; {command}", cwd=folder, env=own_folders(folder))
        assert done.returncode == expected_exit_code(command), f"{page}: {command}\n{done.stderr.decode()}"


def run_python_blocks(page, folder):
    """Run a page's Python blocks as one program."""
    program = "\n".join(code_blocks(page, "python"))
    for written, substitute in PYTHON_SUBSTITUTIONS.items():
        program = program.replace(written, substitute)
    if program:
        done = run_code(program, cwd=folder, env=own_folders(folder))
        assert done.returncode == 0, f"{page}:\n{done.stderr.decode()}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_every_example_of_the_page_runs(page, folder, commands_that_ran):
    for command in map(shorten, shell_commands(page)):
        if command not in NOT_RUN and identify(command) not in commands_that_ran:
            commands_that_ran.add(identify(command))
            run_command(page, command, folder)
    run_python_blocks(page, folder)


def test_every_command_of_the_pages_is_found():
    """So that the tests above cannot pass because they find nothing."""
    commands = [command for page in PAGES for command in shell_commands(page)]
    for name in get_command(app).commands:
        assert any(command.startswith(f"digitscan {name}") for command in commands), name
    assert len(code_blocks("docs/python.md", "python")) > 5


def test_an_option_that_does_not_exist_is_noticed(folder):
    """So that the tests above can fail."""
    with pytest.raises(AssertionError, match="--nothing"):
        run_command("a page", "digitscan train --nothing", folder)
    with pytest.raises(AssertionError, match="--nothing"):
        check_help("python -m benchmarks.accuracy --nothing", folder)
