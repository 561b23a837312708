"""Fixtures for the tests of several packages: a picture of a digit, and a stub worker with a stub model."""

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.workers.supervisor import ProcessFactory
from tests.support.command import PACKAGE_FOLDER
from tests.support.pictures import digit_picture

# A busy machine is no failure: no example of a test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

STUB_WORKER = Path(__file__).parent / "support" / "stub_worker.py"


@pytest.fixture(autouse=True, scope="session")
def user_data_folder(tmp_path_factory):
    """A data folder of the tests' own: calibrations of the developer's would change rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def picture():
    """A seven, black on white, as a Pillow image."""
    return digit_picture()


@pytest.fixture
def process_factory():
    """What starts the workers of a scan: on Linux by a fork server, which is closed after the test."""
    with contextlib.closing(ProcessFactory()) as process_factory:
        yield process_factory


@pytest.fixture
def stub_command():
    """The command line of the stub worker, which does what the text of each file says."""
    return (sys.executable, str(STUB_WORKER), str(PACKAGE_FOLDER))


@pytest.fixture
def stub_model(tmp_path):
    """A model for the stub worker, which loads none."""
    metadata = ModelMetadata(architecture="stub", classes=10, preprocess_version=1, ok_confidence=0.8)
    return Model(tmp_path / "stub.h5", "stub", "0" * 64, metadata, Path("unused"), "0" * 64)
