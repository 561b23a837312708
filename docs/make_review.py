"""Draw docs/review.png and docs/show.png: `python docs/make_review.py`. Needs Chromium.

The pictures that are reviewed are digits of MNIST's test set in fields of forms, drawn by the trainer's own
code. What the page shows is what the commands really give.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from digitscan.evaluation.mnist import load_mnist
from digitscan.review.config import ReviewConfig, ShowConfig
from digitscan.review.review import run_review
from digitscan.review.show import run_show
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.pipeline import run_scan
from digitscan.training.data.degrade import degrade
from digitscan.training.data.distort import distort
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.printed_fields import draw_printed_field

ROOT = Path(__file__).resolve().parents[1]
DOUBTFUL = Path("examples") / "doubtful"
"""Relative to ROOT: the picture shows the paths that it is given."""
PICTURE_COUNT = 600
WIDTH, HEIGHT = 1100, 760


def draw_pictures(folder: Path) -> None:
    """Write pictures of digits, half of them in fields of forms, half of them as bad cameras show them."""
    digits, random = load_mnist()["x_test"], np.random.default_rng(20)
    glyphs = (digits, load_font_glyphs("val").letters)
    for index in range(PICTURE_COUNT):
        digit = distort(digits[index], random)
        is_field = index % 2 == 0
        picture = draw_printed_field(digit, glyphs, random).picture if is_field else degrade(digit, random)
        cv2.imwrite(str(folder / f"{index:04}.png"), picture)


def main() -> None:
    """Replace both pictures."""
    config = ShowConfig(
        (DOUBTFUL / "box-and-point.png", DOUBTFUL / "four-or-nine.png"),
        model="cnn",
        output=ROOT / "docs" / "show.png",
        overwrite=True,
    )
    with contextlib.chdir(ROOT):
        run_show(config)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "forms").mkdir()
        draw_pictures(Path(folder) / "forms")
        rows = Path(folder) / "predictions.csv"
        run_scan([Path(folder) / "forms"], ScanConfig(model="cnn"), OutputConfig(str(rows), quiet=True))
        run_review(ReviewConfig(rows, Path(folder) / "review.html", model="cnn"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((Path(folder) / "review.html").as_uri())
            page.wait_for_timeout(1000)
            page.screenshot(path=ROOT / "docs" / "review.png")
            browser.close()


if __name__ == "__main__":
    main()
