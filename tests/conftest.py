"""What the tests share: pictures of digits, a stub in the place of the worker, and the command itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from tests.support.command import PACKAGE_FOLDER
from tests.support.pictures import digit_picture

STUB_WORKER = Path(__file__).parent / "support" / "stub_worker.py"


@pytest.fixture
def picture():
    return digit_picture()


@pytest.fixture
def stub_command():
    """The command of a worker whose files say in words what is to happen (see stub_worker.py)."""
    return (sys.executable, str(STUB_WORKER), str(PACKAGE_FOLDER))


@pytest.fixture
def stub_model(tmp_path):
    """A model for the stub worker, which needs none."""
    metadata = ModelMetadata(architecture="stub", classes=10, preprocess_version=1, ok_confidence=0.8)
    return Model(tmp_path / "stub.h5", "stub", "0" * 64, metadata, Path("unused"), "0" * 64)


@pytest.fixture
def run_command():
    """Run `python -m digitscan ARGUMENTS` as a user's shell would; both streams come back as bytes."""

    def run(*arguments, cwd, **more):
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)} | more.pop("env", {})
        command = [sys.executable, "-P", "-m", "digitscan", *map(os.fspath, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=120, **more)

    return run
