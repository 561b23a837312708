"""Make the example images again: `python examples/make_examples.py`.

`digits/` holds MNIST *test* images, each changed in one way that users' pictures differ, a blank one and
one that is no digit, with their labels in `labels.csv`; `trouble/` holds files that no reader can read as
one digit. Seeded: the same files every time.
"""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitscan.training.data.sources import load_data

HERE = Path(__file__).parent
Ink = NDArray[Any]
Maker = Callable[[Ink, Path], None]

random = np.random.default_rng(28)


def enlarge(ink: Ink, size: int) -> Ink:
    """Return the ink, 0 to 1, at another size."""
    return np.asarray(cv2.resize(ink, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1), np.float32)


def on_paper(ink: Ink, pen: tuple[int, int, int], paper: tuple[int, int, int]) -> Image.Image:
    """Return ink of one colour on paper of another."""
    share = ink[..., None]
    colours = share * np.array(pen) + (1 - share) * np.array(paper)
    return Image.fromarray(colours.round().astype(np.uint8))


def gray(values: Ink) -> Image.Image:
    """Return an 8-bit picture of values from 0 to 1."""
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def framed(ink: Ink, height: int, width: int, top: int, left: int) -> Ink:
    """Return the ink somewhere in a larger frame."""
    frame = np.zeros((height, width), np.float32)
    frame[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return frame


def shaded(ink: Ink, low: float, high: float) -> Ink:
    """Return dark ink under light that falls off from one corner to the other."""
    height, width = ink.shape
    light = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width))
    return np.asarray((low + (high - low) * light) * (1 - 0.75 * ink), np.float32)


def save_transparent(ink: Ink, path: Path, pen: int) -> None:
    """Save ink of one gray on nothing at all."""
    alpha = (enlarge(ink, 64) * 255).astype(np.uint8)
    Image.fromarray(np.dstack([np.full((64, 64, 3), pen, np.uint8), alpha])).save(path)


def save_rotated(ink: Ink, path: Path, orientation: int) -> None:
    """Save a photo that lies on its side, with the EXIF note that says so."""
    turned = np.rot90(1 - enlarge(ink, 80), {6: 1, 8: 3, 3: 2}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    gray(np.asarray(turned)).save(path, exif=exif, quality=90)


def with_noise(values: Ink, amount: float) -> Ink:
    """Return the values with grain."""
    return np.asarray(values + random.normal(0, amount, values.shape), np.float32)


def squared(ink: Ink) -> Ink:
    """Return dark ink on faintly squared paper."""
    page = np.ones((84, 84), np.float32)
    page[::21] = page[:, ::21] = 0.85
    return np.asarray(np.minimum(page, 1 - 0.9 * enlarge(ink, 84)))


MAKERS: dict[str, Maker] = {
    "light-on-dark.png": lambda ink, path: gray(ink).save(path),
    "dark-on-light.png": lambda ink, path: gray(1 - ink).save(path),
    "dark-on-light.bmp": lambda ink, path: gray(1 - enlarge(ink, 40)).save(path),
    "blue-ink-on-cream.png": lambda ink, path: on_paper(
        enlarge(ink, 56), (30, 50, 160), (250, 240, 210)
    ).save(path),
    "red-ink-on-pink.png": lambda ink, path: on_paper(enlarge(ink, 56), (200, 20, 40), (250, 200, 205)).save(
        path
    ),
    "green-ink-on-gray.jpg": lambda ink, path: on_paper(
        enlarge(ink, 70), (20, 110, 50), (190, 190, 190)
    ).save(path),
    "yellow-chalk-on-green.png": lambda ink, path: on_paper(
        enlarge(ink, 64), (240, 230, 120), (30, 80, 50)
    ).save(path),
    "off-centre.png": lambda ink, path: gray(1 - framed(ink, 60, 70, 30, 2)).save(path),
    "upper-corner.png": lambda ink, path: gray(1 - framed(ink, 90, 90, 1, 60)).save(path),
    "small-in-a-large-frame.png": lambda ink, path: gray(1 - framed(ink, 400, 500, 290, 120)).save(path),
    "fills-the-frame.png": lambda ink, path: gray(1 - enlarge(ink, 84)[14:70, 14:70]).save(path),
    "transparent-black-ink.png": lambda ink, path: save_transparent(ink, path, 0),
    "transparent-white-ink.png": lambda ink, path: save_transparent(ink, path, 255),
    "sixteen-bit.png": lambda ink, path: Image.fromarray(
        (3000 + 900 * enlarge(ink, 50)).astype(np.uint16)
    ).save(path),
    "sixteen-bit.tiff": lambda ink, path: Image.fromarray(
        (60000 * (1 - enlarge(ink, 50))).astype(np.uint16)
    ).save(path),
    "on-its-side-by-exif.jpg": lambda ink, path: save_rotated(ink, path, 6),
    "upside-down-by-exif.jpg": lambda ink, path: save_rotated(ink, path, 3),
    "jpeg-noise.jpg": lambda ink, path: gray(1 - enlarge(ink, 48)).save(path, quality=12),
    "shadow.jpg": lambda ink, path: gray(shaded(enlarge(ink, 100), 0.3, 0.95)).save(path, quality=85),
    "deep-shadow.png": lambda ink, path: gray(shaded(enlarge(ink, 100), 0.12, 0.8)).save(path),
    "faint-pencil.png": lambda ink, path: gray(0.9 - 0.12 * enlarge(ink, 64)).save(path),
    "grain.png": lambda ink, path: gray(with_noise(0.8 - 0.6 * enlarge(ink, 64), 0.05)).save(path),
    "blurred.png": lambda ink, path: gray(1 - cv2.GaussianBlur(enlarge(ink, 84), (0, 0), 3)).save(path),
    "low-resolution.png": lambda ink, path: gray(
        cv2.resize(ink, (14, 14), interpolation=cv2.INTER_AREA)
    ).save(path),
    "thick-pen.png": lambda ink, path: gray(1 - cv2.dilate(enlarge(ink, 84), np.ones((5, 5), np.uint8))).save(
        path
    ),
    "thin-pen.png": lambda ink, path: gray(1 - cv2.erode(enlarge(ink, 84), np.ones((5, 5), np.uint8))).save(
        path
    ),
    "black-and-white.gif": lambda ink, path: gray(1 - enlarge(ink, 56)).convert("1").save(path),
    "web-picture.webp": lambda ink, path: gray(1 - enlarge(ink, 60)).save(path, quality=60),
    "squared-paper.png": lambda ink, path: gray(squared(ink)).save(path),
    "colours-from-a-palette.png": lambda ink, path: (
        on_paper(enlarge(ink, 50), (90, 30, 30), (240, 220, 180)).convert("P").save(path)
    ),
}


def blank() -> Image.Image:
    """Return paper with grain and nothing on it."""
    return gray(with_noise(np.full((60, 60), 0.85, np.float32), 0.01))


def smiley() -> Image.Image:
    """Return a face, which is no digit."""
    face = np.ones((64, 64), np.uint8) * 255
    cv2.circle(face, (32, 32), 26, 0, 3)
    cv2.circle(face, (23, 25), 3, 0, -1)
    cv2.circle(face, (41, 25), 3, 0, -1)
    cv2.ellipse(face, (32, 36), (13, 10), 0, 20, 160, 0, 3)
    return Image.fromarray(face)


def make_digits(folder: Path) -> None:
    """Make the images that can be read, the blank one and the face, and the list of their labels."""
    mnist = load_data()
    rows = []
    for number, (name, save) in enumerate(MAKERS.items()):
        label = number % 10
        index = int(np.flatnonzero(mnist.y_test == label)[number // 10 + 3])
        save(mnist.x_test[index].astype(np.float32) / 255, folder / name)
        rows.append((name, str(label), "digit"))
    blank().save(folder / "blank.png")
    smiley().save(folder / "smiley.png")
    rows += [("blank.png", "", "no digit"), ("smiley.png", "", "no digit")]
    with (HERE / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "what"))
        writer.writerows(sorted(rows))


def make_trouble(folder: Path) -> None:
    """Make the files that cannot be read as one digit."""
    mnist = load_data()
    gray(mnist.x_test[0].astype(np.float32) / 255).save(folder / "broken.png")
    whole = (folder / "broken.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text-named.png").write_text("This is no image.\n", encoding="utf-8")
    (folder / "empty.png").write_bytes(b"")
    several = np.concatenate(list(mnist.x_test[[0, 1, 2, 4]]), axis=1)
    Image.fromarray(255 - several).save(folder / "several-digits.png")


def main() -> None:
    """Make both folders anew."""
    for name, make in (("digits", make_digits), ("trouble", make_trouble)):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
        make(HERE / name)


if __name__ == "__main__":
    main()
