"""Make digitscan/data/font_glyphs.npz: digits and letters of handwriting fonts with open licences.

Usage: `python docs/make_font_glyphs.py OUTPUT.npz`. FONT_GLYPHS.md, with the copyright and licence of each
font, is written beside OUTPUT.npz. The script needs npm, and, for the few families that only Debian packages,
apt-get and dpkg-deb; run `apt-get update` before. Glyphs are scaled and centred as MNIST's digits are.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

DIGITS = "0123456789"
# Without the letters that some handwriting writes like a digit: o O i I l s S z Z B q g b D Q J j G,
# and y, which often looks like a 4 or a 9.
LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwx"
ALLOWED_LICENCES = ("OFL-1.1", "Apache-2.0")
FONT_SIZE = 128
"""The em size, in pixels, at which a glyph is drawn before it is scaled down."""
MIN_INK = 32
"""Fainter pixels, at a glyph's border, are not ink."""
BOX_SIZE = 20
"""MNIST's ink fits into a box of 20x20 pixels; its centre of mass is the centre of the image."""
IMAGE_SIZE = 28
MAX_DUPLICATE_DIFFERENCE = 2.0
"""Glyphs of two families that differ by less, in mean grey levels, are the same drawing."""


@dataclass(frozen=True)
class Family:
    """A font family, and where to download it: from npm, or from Debian if `debian_package` is given."""

    name: str
    version: str = "5.3.0"
    """The version of the npm package."""
    weights: tuple[int, ...] = (400,)
    """The weights to draw, of the npm packages that have one file for each weight."""
    scope: str = "@fontsource"
    """The scope of the npm package."""
    font_file: str = ""
    """The path of the only font file in the package; for Debian, below /usr/share/fonts."""
    debian_package: str = ""
    copyright: str = ""
    """The copyright notice, if it is not taken from the package."""

    @property
    def npm_package(self) -> str:
        """The name of the npm package."""
        return f"{self.scope}/{self.name}"


BECAUSE_FAMILIES_COPYRIGHT = "Copyright 2019 Red Hat, Inc., Russ McMullin, Liz Wetzel and Aaron Williamson"

FAMILIES: tuple[Family, ...] = (
    Family("amatic-sc", weights=(400, 700)),
    Family("annie-use-your-telescope"),
    Family("architects-daughter"),
    Family("bad-script"),
    Family("balsamiq-sans", weights=(400, 700)),
    Family("caveat", weights=(400, 700)),
    Family("caveat-brush"),
    Family("cedarville-cursive"),
    Family("chilanka"),
    Family("cookie"),
    Family("covered-by-your-grace"),
    Family("damion"),
    Family("dancing-script", weights=(400, 700)),
    Family("delicious-handrawn"),
    Family("delius"),
    Family("finger-paint"),
    Family("gaegu", weights=(300, 700)),
    Family("gloria-hallelujah"),
    Family("gochi-hand"),
    Family("handlee"),
    Family("homemade-apple"),
    Family("indie-flower"),
    Family("itim"),
    Family("kalam", weights=(300, 700)),
    Family("licorice"),
    Family("liu-jian-mao-cao"),
    Family("long-cang"),
    Family(
        "lxgw-wenkai",
        weights=(300, 500),
        copyright="Copyright 2021-2023 LXGW; Copyright 2020 The Klee Project Authors (fontworks-fonts)",
    ),
    Family("ma-shan-zheng", version="5.3.1"),
    Family("mansalva"),
    Family("marck-script"),
    Family("ms-madi"),
    Family("nanum-brush-script"),
    Family("nanum-pen-script"),
    Family("neucha"),
    Family("oooh-baby"),
    Family("patrick-hand"),
    Family("permanent-marker"),
    Family("playpen-sans", weights=(300, 700)),
    Family("poor-story"),
    Family("reenie-beanie"),
    Family("rock-salt"),
    Family("sacramento"),
    Family("schoolbell"),
    Family("shadows-into-light"),
    Family("shantell-sans", weights=(300, 700)),
    Family("short-stack"),
    Family("sriracha"),
    Family("sue-ellen-francisco"),
    Family("swanky-and-moo-moo"),
    Family("the-girl-next-door"),
    Family("twinkle-star"),
    Family("vibur"),
    Family("whisper"),
    Family("yomogi"),
    Family("yusei-magic"),
    Family("zen-kurenaido"),
    Family(
        "la-belle-aurore",
        version="0.4.1",
        scope="@expo-google-fonts",
        font_file="400Regular/LaBelleAurore_400Regular.ttf",
    ),
    Family(
        "meow-script",
        version="0.4.1",
        scope="@expo-google-fonts",
        font_file="400Regular/MeowScript_400Regular.ttf",
    ),
    Family(
        "playwrite-de-la",
        scope="@fontsource-variable",
        font_file="files/playwrite-de-la-fallback-wght-normal.woff2",
    ),
    Family(
        "because-we-learn",
        debian_package="fonts-bwht",
        font_file="opentype/bwht/BecauseWeLearn-Regular.otf",
        copyright=BECAUSE_FAMILIES_COPYRIGHT,
    ),
    Family(
        "because-we-organize",
        debian_package="fonts-bwht",
        font_file="opentype/bwht/BecauseWeOrganize-Regular.otf",
        copyright=BECAUSE_FAMILIES_COPYRIGHT,
    ),
    Family(
        "because-we-mentor",
        debian_package="fonts-bwht",
        font_file="opentype/bwht/BecauseWeMentor-Regular.otf",
        copyright=BECAUSE_FAMILIES_COPYRIGHT,
    ),
    Family(
        "because-we-connect",
        debian_package="fonts-bwht",
        font_file="opentype/bwht/BecauseWeConnect-Regular.otf",
        copyright=BECAUSE_FAMILIES_COPYRIGHT,
    ),
    Family(
        "because-we-create",
        debian_package="fonts-bwht",
        font_file="opentype/bwht/BecauseWeCreate-Regular.otf",
        copyright=BECAUSE_FAMILIES_COPYRIGHT,
    ),
    Family(
        "humor-sans",
        debian_package="fonts-humor-sans",
        font_file="truetype/humor-sans/Humor-Sans.ttf",
        copyright="Copyright (c) 2009, Michael Ciuffo, with Reserved Font Name Humor-Sans",
    ),
    Family(
        "kristi",
        debian_package="fonts-kristi",
        font_file="truetype/kristi/Kristi.ttf",
        copyright="Copyright (c) 2010, Birgit Pulk",
    ),
    Family(
        "seto",
        debian_package="fonts-seto",
        font_file="truetype/seto/setofont.ttf",
        copyright="Copyright 2003-2014 Nozomi Seto",
    ),
)

AMBIGUOUS_GLYPHS: dict[str, str] = {
    "amatic-sc": "47d",
    "because-we-connect": "d",
    "because-we-create": "d",
    "because-we-learn": "Yd",
    "because-we-mentor": "Yd",
    "because-we-organize": "Yd",
    "caveat": "L",
    "caveat-brush": "LY",
    "cedarville-cursive": "LYfr",
    "cookie": "LTVYrv",
    "damion": "LTr",
    "dancing-script": "LYfr",
    "gloria-hallelujah": "Y",
    "handlee": "1Y",
    "homemade-apple": "FLTYfr",
    "humor-sans": "d",
    "kristi": "4fr",
    "la-belle-aurore": "FLTYfr",
    "licorice": "0LYfp",
    "liu-jian-mao-cao": "FXYpx",
    "ma-shan-zheng": "FLYfr",
    "marck-script": "CFLTY",
    "meow-script": "CFLTYfr",
    "ms-madi": "CLYr",
    "oooh-baby": "f",
    "permanent-marker": "d",
    "playwrite-de-la": "LTYfr",
    "poor-story": "1",
    "rock-salt": "Ydr",
    "sacramento": "CFLTYfr",
    "shantell-sans": "L",
    "sue-ellen-francisco": "7",
    "twinkle-star": "03CFLTY",
    "vibur": "VYfrv",
    "whisper": "FLTY",
}
"""The digits and letters of a family that a careful reader may misread; they are left out."""


@dataclass(frozen=True)
class DownloadedFamily:
    """The contents of a family's font files, one for each weight, with its copyright notice and licence."""

    family: Family
    font_files: tuple[bytes, ...]
    copyright: str
    licence: str


def download_families(families: tuple[Family, ...], folder: Path) -> list[DownloadedFamily]:
    """Download the packages of the families into the folder, and return the families in the same order."""
    npm_specs = [f"{family.npm_package}@{family.version}" for family in families if not family.debian_package]
    subprocess.run(["npm", "pack", "--silent", *npm_specs], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    debian_packages = sorted({family.debian_package for family in families if family.debian_package})
    subprocess.run(["apt-get", "download", "-qq", *debian_packages], cwd=folder, check=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive.name, "debian"], cwd=folder, check=True)
    return [
        read_debian_family(family, folder) if family.debian_package else read_npm_family(family, folder)
        for family in families
    ]


def read_npm_family(family: Family, folder: Path) -> DownloadedFamily:
    """Return a family from its downloaded npm package."""
    archive = folder / f"{family.npm_package[1:].replace('/', '-')}-{family.version}.tgz"
    with tarfile.open(archive) as tar:

        def read(path: str) -> bytes:
            member = tar.extractfile(f"package/{path}")
            if member is None:
                raise FileNotFoundError(path)
            return member.read()

        if family.font_file:
            font_files = [read(family.font_file)]
        else:
            font_files = [
                read(f"files/{family.name}-latin-{weight}-normal.woff2") for weight in family.weights
            ]
        if family.scope == "@expo-google-fonts":
            licence = json.loads(read("package.json"))["license"].split(" AND ")[-1]
            notice = read("LICENSE_FONT").decode().splitlines()[0]
        else:
            metadata = json.loads(read("metadata.json"))["license"]
            licence, notice = metadata["type"], metadata["attribution"]
    # Some notices list every font file of the family, each with the same line: keep the first.
    notice = re.split(r"\s+[\w\[\],-]+\.ttf:", notice.strip())[0].rstrip(".")
    return DownloadedFamily(family, tuple(font_files), family.copyright or notice, licence)


def read_debian_family(family: Family, folder: Path) -> DownloadedFamily:
    """Return a family from its unpacked Debian package."""
    path = folder / "debian" / "usr" / "share" / "fonts" / family.font_file
    # The copyright files of these Debian packages all state this licence.
    return DownloadedFamily(family, (path.read_bytes(),), family.copyright, "OFL-1.1")


def draw_character(font: ImageFont.FreeTypeFont, character: str) -> Pixels:
    """Return a drawing of a character, light on black, with wide margins."""
    image = Image.new("L", (5 * FONT_SIZE, 5 * FONT_SIZE))
    ImageDraw.Draw(image).text((2 * FONT_SIZE, 2 * FONT_SIZE), character, font=font, fill=255)
    return np.asarray(image, dtype=np.uint8)


def normalize_glyph(drawing: Pixels) -> Pixels:
    """Return the drawing as MNIST shapes its digits: scaled to the box, its centre of mass in the centre."""
    rows = np.flatnonzero((drawing >= MIN_INK).any(axis=1))
    columns = np.flatnonzero((drawing >= MIN_INK).any(axis=0))
    ink = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX_SIZE / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    scaled = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    mass = scaled.astype(np.float64)
    y = float(mass.sum(axis=1) @ np.arange(height) / mass.sum())
    x = float(mass.sum(axis=0) @ np.arange(width) / mass.sum())
    center = (IMAGE_SIZE - 1) / 2
    top = min(max(round(center - y), 0), IMAGE_SIZE - height)
    left = min(max(round(center - x), 0), IMAGE_SIZE - width)
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    image[top : top + height, left : left + width] = scaled
    return image


def is_same_drawing(first: Pixels, second: Pixels) -> bool:
    """Return whether two glyphs are the same drawing, up to rendering."""
    return float(np.abs(first.astype(np.int16) - second).mean()) < MAX_DUPLICATE_DIFFERENCE


def draw_glyphs(font_file: bytes, characters: str) -> dict[str, Pixels]:
    """Return the normalized glyph of each of the characters that the font has."""
    font = ImageFont.truetype(BytesIO(font_file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    missing_character = draw_character(font, "\uffff")
    drawings = {character: draw_character(font, character) for character in characters}
    return {
        character: normalize_glyph(drawing)
        for character, drawing in drawings.items()
        if (drawing >= MIN_INK).any() and not np.array_equal(drawing, missing_character)
    }


def collect_glyphs(families: list[DownloadedFamily]) -> dict[str, list[tuple[int, Pixels]]]:
    """Return for each character its glyphs, each with the index of its family, without duplicates.

    Families that copy another family's drawing, and weights that do not differ, count once.
    """
    collected: dict[str, list[tuple[int, Pixels]]] = {character: [] for character in DIGITS + LETTERS}
    for index, downloaded in enumerate(families):
        ambiguous = AMBIGUOUS_GLYPHS.get(downloaded.family.name, "")
        characters = "".join(character for character in DIGITS + LETTERS if character not in ambiguous)
        for font_file in downloaded.font_files:
            for character, glyph in draw_glyphs(font_file, characters).items():
                is_duplicate = any(
                    np.array_equal(glyph, known) or (known_index != index and is_same_drawing(glyph, known))
                    for known_index, known in collected[character]
                )
                if not is_duplicate:
                    collected[character].append((index, glyph))
    return collected


def make_arrays(families: list[DownloadedFamily]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of font_glyphs.npz, which digitscan/data/README.md describes."""
    collected = collect_glyphs(families)
    digits = [(glyph, int(digit), index) for digit in DIGITS for index, glyph in collected[digit]]
    letters: list[tuple[Pixels, int]] = []
    for letter in LETTERS:
        for index, glyph in collected[letter]:
            # Fonts without lower case letters have the capitals in their place.
            capitals = collected[letter.upper()] if letter.islower() and letter.upper() in LETTERS else []
            if not any(np.array_equal(glyph, capital) for _, capital in capitals):
                letters.append((glyph, index))
    return {
        "digits": np.stack([glyph for glyph, _, _ in digits]),
        "digit_labels": np.array([digit for _, digit, _ in digits], dtype=np.uint8),
        "digit_fonts": np.array([index for _, _, index in digits], dtype=np.uint16),
        "letters": np.stack([glyph for glyph, _ in letters]),
        "letter_fonts": np.array([index for _, index in letters], dtype=np.uint16),
        "fonts": np.array([downloaded.family.name for downloaded in families]),
    }


def main(output: Path) -> None:
    """Download the fonts, and write the arrays and FONT_GLYPHS.md."""
    with tempfile.TemporaryDirectory() as folder:
        families = download_families(FAMILIES, Path(folder))
    for downloaded in families:
        if downloaded.licence not in ALLOWED_LICENCES:
            raise ValueError(f"{downloaded.family.name}: the licence {downloaded.licence} is not allowed")
    arrays = make_arrays(families)
    np.savez_compressed(
        output,
        digits=arrays["digits"],
        digit_labels=arrays["digit_labels"],
        digit_fonts=arrays["digit_fonts"],
        letters=arrays["letters"],
        letter_fonts=arrays["letter_fonts"],
        fonts=arrays["fonts"],
    )
    lines = [
        f"- {downloaded.family.name}: {downloaded.copyright}. {downloaded.licence.strip()}"
        for downloaded in families
    ]
    heading = (
        "# Fonts of font_glyphs.npz\n\nThe handwriting fonts, with their copyright notices and licences.\n\n"
    )
    output.with_name("FONT_GLYPHS.md").write_text(heading + "\n".join(lines) + "\n", encoding="utf-8")
    print(", ".join(f"{len(arrays[name])} {name}" for name in ("fonts", "digits", "letters")))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
