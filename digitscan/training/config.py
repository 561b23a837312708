"""The settings of a training run and their defaults: the command line and the Python API both read them here.

The hyperparameters that a setting of None stands for are in `recipes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from digitscan.errors import UsageError
from digitscan.model.input_range import InputRange

MAX_COUNT = 1_000_000
"""The most epochs, images in a step and epochs of patience: TensorFlow computes with numbers of 64 bits."""
MAX_SEED = 2**32 - 1
"""The largest seed that Keras takes."""


class Architecture(StrEnum):
    """The networks that can be trained."""

    CNN = "cnn"
    MLP = "mlp"
    CNN_FAST = "cnn-fast"
    LINE = "line"


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, from which data, and where the results go. Raises UsageError for a value out of range.

    >>> TrainConfig(architecture="mlp", epochs=3).seed
    1
    """

    architecture: str = "cnn"
    """`cnn`; `mlp`, the classic 784-128-64-10; `cnn-fast`, which needs the CNN as its one teacher; or `line`,
    which reads numbers."""
    output: Path = Path("models/digits.h5")
    """The model file to write. Checkpoints of an unfinished run are written beside it."""
    teachers: tuple[str, ...] = ()
    """Names of bundled models or paths of `.h5` files whose answers are learned as well (distillation)."""
    data: Path | None = None
    """An `.npz`, a folder of IDX files, or a folder of images by label; None is the bundled MNIST."""
    pens: tuple[Path, ...] = ()
    """Files of pen strokes, from which digits and letters are drawn besides those of the recipe."""
    epochs: int | None = None
    """The most passes over the training images; None is the recipe's number."""
    batch_size: int | None = None
    """Images in each training step; None is the recipe's number."""
    patience: int | None = None
    """Epochs without a better validation accuracy before training stops; None is the recipe's number."""
    seed: int = 1
    """Seeds the initial weights, the augmentation and the order of the images: same seed, same weights."""
    plots: Path | None = None
    """The folder for the plots of the run; None draws no plots."""
    overwrite: bool = False
    """Whether an existing model, and the checkpoint of an interrupted run, may be replaced."""
    resume: bool = False
    """Whether to continue after the last whole epoch of an interrupted run with the same settings."""
    quiet: bool = False
    """Whether to write neither messages nor progress bars to stderr."""
    ensemble: tuple[str, ...] = ()
    """Names of bundled models or paths of `.h5` files, two or more: the new model's answer is the mean of
    theirs, and nothing is trained. It is calibrated and tested like a trained one."""

    def __post_init__(self) -> None:
        """Check the values, so that a wrong one fails here and not after the data are loaded."""
        if self.architecture not in {*Architecture}:
            names = ", ".join(Architecture)
            raise UsageError(f"architecture must be one of {names}, not {self.architecture!r}")
        for name, minimum, maximum in (
            ("epochs", 1, MAX_COUNT),
            ("batch_size", 1, MAX_COUNT),
            ("patience", 1, MAX_COUNT),
            ("seed", 0, MAX_SEED),
        ):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UsageError(f"{name} must be at least {minimum}, not {value}")
            if value is not None and value > maximum:
                raise UsageError(f"{name} must be at most {maximum}, not {value}")
        if self.architecture == Architecture.LINE and (self.teachers or self.ensemble):
            raise UsageError("line learns from composed numbers alone: leave out teachers and ensembles")
        if self.ensemble:
            self._check_ensemble()

    def _check_ensemble(self) -> None:
        """Raise UsageError for an ensemble of one, and for settings of a training that it does not have."""
        if len(self.ensemble) == 1:
            raise UsageError(f"an ensemble needs two models or more, and only {self.ensemble[0]} is named")
        if self.architecture == Architecture.CNN_FAST:
            raise UsageError(f"{self.architecture} answers for another model: it cannot be an ensemble")
        settings = ("teachers", "epochs", "batch_size", "patience", "resume")
        unused = [name for name in settings if getattr(self, name)]
        if unused:
            raise UsageError(f"nothing is trained for an ensemble: leave out {', '.join(unused)}")


def default_plot_folder(output: Path) -> Path:
    """Return the folder for the plots of a model: `models/digits` for `models/digits.h5`."""
    return output.parent / (output.stem if output.suffix else f"{output.name}-plots")


@dataclass(frozen=True)
class FineTuneConfig:
    """Which model learns from which corrections, and where the result goes.

    >>> FineTuneConfig("cnn", Path("predictions-corrected.csv")).output
    PosixPath('models/digits.h5')
    """

    model: str
    """The name of a bundled model or the path of an `.h5` file, to start from."""
    corrections: Path
    """A CSV of a scan with a column `corrected`, or a folder of images by label."""
    images: Path | None = None
    """The folder in which the paths of the CSV begin; None is where the scan found the images."""
    pens: tuple[Path, ...] = ()
    """Files of pen strokes, as in `TrainConfig`: what the model has learned from should be named again."""
    output: Path = TrainConfig.output
    """The model file to write."""
    seed: int = 1
    """Seeds the drawings and the parts of the corrections: same seed, same weights."""
    overwrite: bool = False
    """Whether an existing model may be replaced."""
    force: bool = False
    """Whether to save a model that is not better."""
    quiet: bool = False
    """Whether to write no messages to stderr."""


@dataclass(frozen=True)
class CalibrateConfig:
    """Which model is calibrated with which pictures. Raises UsageError for what does not fit together.

    >>> CalibrateConfig("theirs.h5", Path("mine")).max_wrong
    0.003
    """

    model: str
    """As in `ScanConfig`: the name of a bundled model or the path of a model file."""
    source: Path | None = None
    """A folder of images by label, or a CSV of a scan with a column `corrected`."""
    truth: Path | None = None
    """A CSV with the columns `path` and `label`: then `source` is the folder that its paths are in."""
    images: Path | None = None
    """The folder in which the paths of a corrected CSV begin; None is where the scan found the images."""
    input_range: InputRange | None = None
    """As in `ScanConfig`."""
    max_wrong: float = 0.003
    """The largest share of wrong rows among those marked `ok`, between 0 and 1."""
    forget: bool = False
    """Whether to remove what is stored of the model, and calibrate nothing."""

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        if not self.model:
            raise UsageError("an empty name was given: name a model")
        if not 0.0 < self.max_wrong < 1.0:
            raise UsageError(f"max_wrong must be more than 0 and less than 1, not {self.max_wrong!r}")
        if self.forget and (self.source or self.truth or self.images):
            raise UsageError("--forget removes what is stored: leave out the pictures")
        if not self.forget and self.source is None:
            raise UsageError("name the labelled pictures: a folder with a subfolder for each digit, or a CSV")


def check_fine_tuning_options(model: str | None, corrections: Path | None, others: Sequence[str]) -> None:
    """Raise UsageError unless both are given, and none of the options that only a new training has."""
    if model is None or corrections is None:
        raise UsageError("--from names the model that learns, and --add what it learns: give both")
    if others:
        raise UsageError(f"{', '.join(others)} does not go with --from and --add: leave it out")
