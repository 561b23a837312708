"""Make the example images: `python examples/make_examples.py`.

`digits/` holds digits of MNIST's test set, each changed in one way in which users' pictures differ from
MNIST's, a blank image and one of no digit; `labels.csv` says what each shows. `numbers/` holds whole numbers
composed of such digits, and `numbers.csv` says which. `doubtful/` holds digits that a person should look at,
`trouble/` files that cannot be read as one digit. The random numbers are seeded, so the files are the same
every time.
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
EXIF_ORIENTATION = 0x0112
BRUSH = np.ones((5, 5), np.uint8)
"""Makes strokes 4 pixels thicker or thinner."""

Ink = NDArray[Any]
"""A 2-D float32 array, from 0 for paper to 1 for full ink."""

Colour = tuple[int, int, int]

random = np.random.default_rng(28)


def to_image(values: Ink) -> Image.Image:
    """Return an 8-bit gray image of values from 0, black, to 1, white."""
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def enlarge(ink: Ink, side: int) -> Ink:
    """Return the ink resized to (side, side)."""
    return np.asarray(cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1), np.float32)


def colour(ink: Ink, pen: Colour, paper: Colour) -> Image.Image:
    """Return an image of ink in the colour `pen` on paper in the colour `paper`."""
    opacity = ink[..., None]
    colours = opacity * np.array(pen) + (1 - opacity) * np.array(paper)
    return Image.fromarray(colours.round().astype(np.uint8))


def place(ink: Ink, height: int, width: int, top: int, left: int) -> Ink:
    """Return the ink at a position in a larger, empty frame."""
    frame = np.zeros((height, width), np.float32)
    frame[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return frame


def shade(ink: Ink, darkest: float, brightest: float) -> Ink:
    """Return the brightness of paper with the ink on it, in light that falls off towards one corner."""
    height, width = ink.shape
    light = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width))
    return np.asarray((darkest + (brightest - darkest) * light) * (1 - 0.75 * ink), np.float32)


def add_noise(values: Ink, deviation: float) -> Ink:
    """Return the values with Gaussian noise."""
    return np.asarray(values + random.normal(0, deviation, values.shape), np.float32)


def draw_on_squared_paper(ink: Ink) -> Ink:
    """Return the brightness of paper with faint squares and the ink on it."""
    page = np.ones((84, 84), np.float32)
    page[::21] = page[:, ::21] = 0.85
    return np.asarray(np.minimum(page, 1 - 0.9 * enlarge(ink, 84)))


def save_transparent(ink: Ink, path: Path, gray_level: int) -> None:
    """Save ink of one gray level on a transparent background."""
    alpha = (enlarge(ink, 64) * 255).astype(np.uint8)
    Image.fromarray(np.dstack([np.full((64, 64, 3), gray_level, np.uint8), alpha])).save(path)


def save_rotated(ink: Ink, path: Path, orientation: int) -> None:
    """Save a photograph taken with a turned camera, whose EXIF orientation says so."""
    quarter_turns = {6: 1, 8: 3, 3: 2}[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    rotated = np.asarray(np.rot90(1 - enlarge(ink, 80), quarter_turns))
    to_image(rotated).save(path, exif=exif, quality=90)


DIGITS: dict[str, Callable[[Ink, Path], object]] = {
    "light-on-dark.png": lambda ink, path: to_image(ink).save(path),
    "dark-on-light.png": lambda ink, path: to_image(1 - ink).save(path),
    "dark-on-light.bmp": lambda ink, path: to_image(1 - enlarge(ink, 40)).save(path),
    "blue-ink-on-cream.png": lambda ink, path: colour(enlarge(ink, 56), (30, 50, 160), (250, 240, 210)).save(
        path
    ),
    "red-ink-on-pink.png": lambda ink, path: colour(enlarge(ink, 56), (200, 20, 40), (250, 200, 205)).save(
        path
    ),
    "green-ink-on-gray.jpg": lambda ink, path: colour(enlarge(ink, 70), (20, 110, 50), (190, 190, 190)).save(
        path
    ),
    "yellow-chalk-on-green.png": lambda ink, path: colour(
        enlarge(ink, 64), (240, 230, 120), (30, 80, 50)
    ).save(path),
    "off-centre.png": lambda ink, path: to_image(1 - place(ink, 60, 70, 30, 2)).save(path),
    "upper-corner.png": lambda ink, path: to_image(1 - place(ink, 90, 90, 1, 60)).save(path),
    "small-in-a-large-frame.png": lambda ink, path: to_image(1 - place(ink, 400, 500, 290, 120)).save(path),
    "fills-the-frame.png": lambda ink, path: to_image(1 - enlarge(ink, 84)[14:70, 14:70]).save(path),
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
    "jpeg-noise.jpg": lambda ink, path: to_image(1 - enlarge(ink, 48)).save(path, quality=12),
    "shadow.jpg": lambda ink, path: to_image(shade(enlarge(ink, 100), 0.3, 0.95)).save(path, quality=85),
    "deep-shadow.png": lambda ink, path: to_image(shade(enlarge(ink, 100), 0.12, 0.8)).save(path),
    "faint-pencil.png": lambda ink, path: to_image(0.9 - 0.12 * enlarge(ink, 64)).save(path),
    "grain.png": lambda ink, path: to_image(add_noise(0.8 - 0.6 * enlarge(ink, 64), 0.05)).save(path),
    "blurred.png": lambda ink, path: to_image(1 - cv2.GaussianBlur(enlarge(ink, 84), (0, 0), 3)).save(path),
    "low-resolution.png": lambda ink, path: to_image(
        cv2.resize(ink, (14, 14), interpolation=cv2.INTER_AREA)
    ).save(path),
    "thick-pen.png": lambda ink, path: to_image(1 - cv2.dilate(enlarge(ink, 84), BRUSH)).save(path),
    "thin-pen.png": lambda ink, path: to_image(1 - cv2.erode(enlarge(ink, 84), BRUSH)).save(path),
    "black-and-white.gif": lambda ink, path: to_image(1 - enlarge(ink, 56)).convert("1").save(path),
    "web-picture.webp": lambda ink, path: to_image(1 - enlarge(ink, 60)).save(path, quality=60),
    "squared-paper.png": lambda ink, path: to_image(draw_on_squared_paper(ink)).save(path),
    "colours-from-a-palette.png": lambda ink, path: (
        colour(enlarge(ink, 50), (90, 30, 30), (240, 220, 180)).convert("P").save(path)
    ),
}
"""How the ink of a 28x28 digit is saved under each name."""


def draw_blank() -> Image.Image:
    """Return an image of grainy paper with nothing on it."""
    return to_image(add_noise(np.full((60, 60), 0.85, np.float32), 0.01))


def draw_smiley() -> Image.Image:
    """Return an image of a face, which is no digit."""
    face = np.ones((64, 64), np.uint8) * 255
    cv2.circle(face, (32, 32), 26, 0, 3)
    cv2.circle(face, (23, 25), 3, 0, -1)
    cv2.circle(face, (41, 25), 3, 0, -1)
    cv2.ellipse(face, (32, 36), (13, 10), 0, 20, 160, 0, 3)
    return Image.fromarray(face)


def make_digits(folder: Path) -> None:
    """Make the digits, the blank image, the face, and the list of their labels."""
    mnist = load_data()
    rows = []
    for position, (name, save) in enumerate(DIGITS.items()):
        label = position % 10
        index = int(np.flatnonzero(mnist.y_test == label)[position // 10 + 3])
        save(mnist.x_test[index].astype(np.float32) / 255, folder / name)
        rows.append((name, str(label)))
    draw_blank().save(folder / "blank.png")
    draw_smiley().save(folder / "smiley.png")
    rows += [("blank.png", "none"), ("smiley.png", "none")]
    with (HERE / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label"))
        writer.writerows(sorted(rows))


def draw_box_with_point(ink: Ink) -> Ink:
    """Return the brightness of a printed box with the ink in it, and a point beside the digit."""
    page = place(enlarge(ink, 84), 120, 120, 16, 14)
    cv2.rectangle(page, (8, 8), (111, 111), 0.7, 2)
    cv2.circle(page, (94, 90), 4, 1.0, -1)
    return np.asarray(0.95 - 0.85 * cv2.GaussianBlur(page, (0, 0), 0.7), np.float32)


def make_doubtful(folder: Path) -> None:
    """Make the digits that a person should look at, each for another reason."""
    images = load_data().x_test.astype(np.float32) / 255
    to_image(1 - enlarge(images[1901], 60)).save(folder / "four-or-nine.png")
    to_image(draw_box_with_point(images[0])).save(folder / "box-and-point.png")
    to_image(1 - place(enlarge(images[18], 84), 140, 110, 50, 13)[:110]).save(folder / "cut-by-the-edge.png")


def make_trouble(folder: Path) -> None:
    """Make the files that cannot be read as one digit."""
    mnist = load_data()
    to_image(mnist.x_test[0].astype(np.float32) / 255).save(folder / "broken.png")
    valid = (folder / "broken.png").read_bytes()
    (folder / "broken.png").write_bytes(valid[: len(valid) // 2])
    (folder / "text-named.png").write_text("This is no image.\n", encoding="utf-8")
    (folder / "empty.png").write_bytes(b"")
    digits = np.concatenate(list(mnist.x_test[[0, 1, 2, 4]]), axis=1)
    Image.fromarray(255 - digits).save(folder / "several-digits.png")


def compose(number: str, first: int, gap: int = 4, slant: float = 0.0) -> Ink:
    """Return digits of the test set beside each other, 80 pixels high, `gap` pixels apart.

    `first` says which of the images of each digit are taken. `slant` is the shift of a stroke to the right,
    as a share of its height.
    """
    mnist = load_data()
    parts = []
    for position, digit in enumerate(number):
        index = np.flatnonzero(mnist.y_test == int(digit))[first + position]
        ink = enlarge(mnist.x_test[index].astype(np.float32) / 255, 80)
        columns = np.flatnonzero((ink > 0.3).any(axis=0))
        parts.append(ink[:, columns[0] : columns[-1] + 1])
    width = sum(part.shape[1] + gap for part in parts) + 60
    line, left = np.zeros((80, width), np.float32), 30
    for part in parts:
        area = line[:, left : left + part.shape[1]]
        np.maximum(area, part, out=area)
        left += part.shape[1] + gap
    matrix = np.array([[1.0, -slant, 40 * slant], [0.0, 1.0, 0.0]])
    return np.asarray(cv2.warpAffine(line, matrix, (width, 80)), np.float32)


def draw_cells(number: str, first: int, count: int) -> Ink:
    """Return the brightness of a row of printed cells, with a digit in each of the first ones."""
    page = np.zeros((100, 70 * count + 20), np.float32)
    for position, digit in enumerate(number):
        ink = compose(digit, first + position)[:, 30:-34]
        left = 10 + 70 * position + (70 - ink.shape[1]) // 2
        page[10:90, left : left + ink.shape[1]] = ink
    for cell in range(count):
        cv2.rectangle(page, (10 + 70 * cell, 8), (80 + 70 * cell, 91), 0.55, 2)
    return 0.95 - 0.8 * page


def draw_waves(ink: Ink) -> Ink:
    """Return the brightness of a paper with fine waves, as cheques have, and the ink on it."""
    rows, columns = np.mgrid[: ink.shape[0], : ink.shape[1]]
    waves = 0.5 + 0.5 * np.sin((rows + 4 * np.sin(columns / 17)) * 2 * np.pi / 9)
    return np.asarray(0.85 - 0.14 * waves - 0.6 * ink, np.float32)


def make_numbers(folder: Path) -> None:
    """Make the pictures of numbers, and the list of what they show."""
    before, after = compose("1", 20)[:, :-34], compose("250", 21)[:, 10:]
    with_point = np.concatenate([before, after], axis=1)
    cv2.circle(with_point, (before.shape[1] + 8, 68), 4, 1.0, -1)
    pictures = {
        "plain.png": ("407", 1 - compose("407", 10)),
        "leading-zeros.png": ("0052", 1 - compose("0052", 30, gap=10)),
        "touching.png": ("8316", 1 - compose("8316", 40, gap=-5)),
        "slanted.png": ("72914", 1 - compose("72914", 50, slant=0.3)),
        "with-a-point.png": ("1250", 1 - with_point),
        "cells.png": ("2046", draw_cells("2046", 60, 6)),
        "cheque.png": ("98052", draw_waves(compose("98052", 70))),
        "light-on-dark.png": ("163", compose("163", 80)),
        "faint.png": ("5587", 0.8 - 0.25 * compose("5587", 90)),
    }
    for name, (_, brightness) in pictures.items():
        to_image(brightness).save(folder / name)
    to_image(1 - np.zeros((80, 240), np.float32)).save(folder / "blank.png")
    rows = [*((name, number) for name, (number, _) in pictures.items()), ("blank.png", "none")]
    with (HERE / "numbers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label"))
        writer.writerows(sorted(rows))


def main() -> None:
    """Replace the folders."""
    folders = {
        "digits": make_digits,
        "numbers": make_numbers,
        "doubtful": make_doubtful,
        "trouble": make_trouble,
    }
    for name, make in folders.items():
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
        make(HERE / name)


if __name__ == "__main__":
    main()
