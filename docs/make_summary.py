"""Draw docs/summary.svg, the real summary of a scan of the examples: `python docs/make_summary.py`."""

import io
import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from digitscan.scanning.pipeline import Request, run

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Scan copies of both example folders and save what rich printed."""
    console = Console(record=True, width=76, file=io.StringIO(), highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "examples", Path(scratch) / "examples")
        os.chdir(scratch)
        run(Request([Path("examples")], model="cnn", output="predictions.csv"), console)
        os.chdir(ROOT)
    console.save_svg(str(ROOT / "docs" / "summary.svg"), title="digitscan scan examples", unique_id="summary")


if __name__ == "__main__":
    main()
