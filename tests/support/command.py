"""How tests start the command."""

from pathlib import Path

import digitscan

PACKAGE_FOLDER = Path(digitscan.__file__).resolve().parents[1]
