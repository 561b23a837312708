"""Read the handwritten digits in a folder of images into rows that can be trusted.

>>> import digitscan
>>> for row in digitscan.scan("examples/digits", digitscan.ScanConfig(model="cnn")):
...     if row.status is digitscan.Status.NO_DIGIT:
...         print(row.path, row.note)
blank.png blank
smiley.png not like any digit

The command line `digitscan` is a shell over these functions. All of them are imported at first use (PEP 562),
so that `import digitscan` loads no other package.
"""

from typing import TYPE_CHECKING

from digitscan.version import __version__

if TYPE_CHECKING:
    from digitscan.errors import (
        DataError,
        DigitscanError,
        ExitCode,
        ImageError,
        ModelError,
        NoImagesError,
        OutputError,
        TrainingError,
        UsageError,
    )
    from digitscan.imaging.preprocess import preprocess
    from digitscan.model.registry import load_model
    from digitscan.prediction import Prediction, Status
    from digitscan.scanning.config import ScanConfig
    from digitscan.scanning.pipeline import Scan, scan
    from digitscan.training.config import TrainConfig
    from digitscan.training.pipeline import run_training as train

__all__ = [
    "DataError",
    "DigitscanError",
    "ExitCode",
    "ImageError",
    "ModelError",
    "NoImagesError",
    "OutputError",
    "Prediction",
    "Scan",
    "ScanConfig",
    "Status",
    "TrainConfig",
    "TrainingError",
    "UsageError",
    "__version__",
    "load_model",
    "preprocess",
    "scan",
    "train",
]

# Where each public name is defined, if not in `errors`.
_MODULES = {
    "Prediction": "digitscan.prediction",
    "Scan": "digitscan.scanning.pipeline",
    "ScanConfig": "digitscan.scanning.config",
    "Status": "digitscan.prediction",
    "TrainConfig": "digitscan.training.config",
    "load_model": "digitscan.model.registry",
    "preprocess": "digitscan.imaging.preprocess",
    "scan": "digitscan.scanning.pipeline",
    "train": "digitscan.training.pipeline",
}
_DEFINED_AS = {"train": "run_training"}


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'digitscan' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES.get(name, "digitscan.errors")), _DEFINED_AS.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
