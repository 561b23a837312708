"""Figures as PNG files, drawn by matplotlib.

They are drawn with matplotlib's Agg backend, not with pyplot: that needs no display and leaves no global
state behind. The PNG files hold neither date nor version, so the same values give the same bytes.

They are drawn in a process of its own. matplotlib obeys a `matplotlibrc` in the current folder, which may
have come with somebody's data and may, for example, start LaTeX; that can only be prevented in a process that
changes to another folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from digitscan.errors import ModelError
from digitscan.model.private_files import check_writable, user_cache_folder
from digitscan.system.child_python import set_environment
from digitscan.system.process_pool import PoolError, ProcessPool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, RED, GRAY = "#1f6fb4", "#d9730d", "#c62828", "#555555"

_Result = TypeVar("_Result")


class DrawingError(Exception):
    """Figures cannot be drawn: there is not enough memory, or no process can be started."""


def draw_in_own_process(draw: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return what a function returns that draws with matplotlib. Raises DrawingError.

    The function and its arguments are sent to the process: they must be of a module, and picklable.
    """
    try:
        with (
            _open_font_folder() as folder,
            set_environment({"MPLCONFIGDIR": folder}),
            ProcessPool(1, _import_matplotlib) as pool,
        ):
            return pool.submit(draw, *arguments).result()
    except (PoolError, MemoryError) as error:
        raise DrawingError(str(error) or "not enough memory") from error


@contextlib.contextmanager
def _open_font_folder() -> Iterator[str]:
    """Yield a folder in which matplotlib keeps its list of fonts, which takes it a second to make.

    It is in our cache folder or, where that cannot be written, a temporary one. Raises DrawingError.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = user_cache_folder() / "matplotlib"
            check_writable(folder)
        except (ModelError, OSError):
            try:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="digitscan-")))
            except OSError as error:
                raise DrawingError("no folder for temporary files can be written: set TMPDIR") from error
        yield str(folder)


def _import_matplotlib() -> None:
    """Import matplotlib with its own settings. Changes the current folder of this process."""
    for name in ("MPLBACKEND", "MATPLOTLIBRC"):
        os.environ.pop(name, None)
    found = importlib.util.find_spec("matplotlib")
    if found and found.origin:
        # It reads the `matplotlibrc` of the current folder: so that is its own one, with its defaults.
        os.chdir(Path(found.origin).parent / "mpl-data")
    import matplotlib

    matplotlib.rcdefaults()


def create_figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches that the Agg backend draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def encode_figure(figure: Figure) -> bytes:
    """Return a figure as the content of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
