"""What a fresh interpreter has loaded at the end: start-up time is kept by this."""

import json
import subprocess
import sys

import pytest

from tests.support.command import PACKAGE_FOLDER

HEAVY = {"tensorflow", "keras", "matplotlib", "h5py", "scipy", "pandas", "absl"}
NATIVE = HEAVY | {"numpy", "cv2", "PIL", "ai_edge_litert"}


def loaded(program, cwd):
    """The modules of a fresh interpreter after the program, which may exit."""
    start = (
        f"import sys, json, atexit; sys.path.insert(0, {str(PACKAGE_FOLDER)!r})\n"
        "atexit.register(lambda: open('modules.json', 'w').write(json.dumps(list(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", start + program], cwd=cwd, capture_output=True, timeout=120)
    modules = {name.partition(".")[0] for name in json.loads((cwd / "modules.json").read_text())}
    return done, modules


def command(*arguments):
    return f"sys.argv[1:] = {list(arguments)!r}\nfrom digitscan.__main__ import main; main()"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["scan", "--help"], ["train", "--help"]])
def test_help_loads_nothing_that_is_slow(arguments, tmp_path):
    done, modules = loaded(command(*arguments), tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & (NATIVE | {"rich", "tqdm", "platformdirs"})


def test_a_scan_loads_no_array_and_no_image_library_in_its_own_process(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    # Not by `__main__`, which leaves a scan at once, before anything can be looked at.
    program = "sys.argv[1:] = ['scan', 'a.png', '-o', '-']\nfrom digitscan.cli import run; run()"
    done, modules = loaded(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & NATIVE


def test_a_worker_loads_no_tensorflow(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    program = (
        "from digitscan.model.registry import load_model\n"
        "from digitscan.workers.image_processor import load_image_processor\n"
        "model = load_model('mlp')\n"
        "ready = {'compiled_path': str(model.compiled_path), 'compiled_digest': model.compiled_digest,\n"
        "    'metadata': model.metadata.to_json()}\n"
        "read = load_image_processor({'model': ready, 'fast_model': None, 'min_confidence': None,\n"
        "    'probabilities': False, 'max_megapixels': 64.0})\n"
        "(row,) = read(['a.png'], lambda index: None)\n"
        "assert row[2] in ('ok', 'review', 'no-digit'), row\n"
    )
    done, modules = loaded(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & HEAVY


def test_the_package_itself_is_light(tmp_path):
    done, modules = loaded("import digitscan; print(digitscan.__version__)", tmp_path)
    assert done.stdout.strip() == b"0.1.0"
    assert "typer" not in modules
