"""Draw digits and letters with open handwriting fonts, shaped as MNIST shapes its own.

Usage: ``python make_font_glyphs.py OUTPUT.npz``. It needs npm, and Debian's apt-get and dpkg-deb for the few
families that only Debian packs (run ``apt-get update`` before). FONT_GLYPHS.md, who holds the rights in each
font, is written beside OUTPUT.npz.
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
# Without the letters that some hand writes as some digit: o O i I l s S z Z B q g b D Q J j G,
# and y, a 4 or 9 in many.
LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwx"
LICENCES = ("OFL-1.1", "Apache-2.0")
POINTS = 128
INK = 32  # fainter pixels at a glyph's border are not its ink
BOX, SIDE = 20, 28  # MNIST's: the ink fits into the box, its centre of mass lies in the image's centre
TWIN = 2.0  # glyphs of two families that differ by less, in mean grey levels, are one drawing


@dataclass(frozen=True)
class Family:
    """A font family of the npm registry, or of Debian where it names its Debian package."""

    name: str
    version: str = "5.3.0"
    weights: tuple[int, ...] = (400,)
    scope: str = "@fontsource"
    face: str = ""
    debian: str = ""
    copyright: str = ""

    @property
    def package(self) -> str:
        """What npm calls it."""
        return f"{self.scope}/{self.name}"


BWHT = "Copyright 2019 Red Hat, Inc., Russ McMullin, Liz Wetzel and Aaron Williamson"

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
        face="400Regular/LaBelleAurore_400Regular.ttf",
    ),
    Family(
        "meow-script",
        version="0.4.1",
        scope="@expo-google-fonts",
        face="400Regular/MeowScript_400Regular.ttf",
    ),
    Family(
        "playwrite-de-la",
        scope="@fontsource-variable",
        face="files/playwrite-de-la-fallback-wght-normal.woff2",
    ),
    Family(
        "because-we-learn",
        debian="fonts-bwht",
        face="opentype/bwht/BecauseWeLearn-Regular.otf",
        copyright=BWHT,
    ),
    Family(
        "because-we-organize",
        debian="fonts-bwht",
        face="opentype/bwht/BecauseWeOrganize-Regular.otf",
        copyright=BWHT,
    ),
    Family(
        "because-we-mentor",
        debian="fonts-bwht",
        face="opentype/bwht/BecauseWeMentor-Regular.otf",
        copyright=BWHT,
    ),
    Family(
        "because-we-connect",
        debian="fonts-bwht",
        face="opentype/bwht/BecauseWeConnect-Regular.otf",
        copyright=BWHT,
    ),
    Family(
        "because-we-create",
        debian="fonts-bwht",
        face="opentype/bwht/BecauseWeCreate-Regular.otf",
        copyright=BWHT,
    ),
    Family(
        "humor-sans",
        debian="fonts-humor-sans",
        face="truetype/humor-sans/Humor-Sans.ttf",
        copyright="Copyright (c) 2009, Michael Ciuffo, with Reserved Font Name Humor-Sans",
    ),
    Family(
        "kristi",
        debian="fonts-kristi",
        face="truetype/kristi/Kristi.ttf",
        copyright="Copyright (c) 2010, Birgit Pulk",
    ),
    Family(
        "seto",
        debian="fonts-seto",
        face="truetype/seto/setofont.ttf",
        copyright="Copyright 2003-2014 Nozomi Seto",
    ),
)

# Glyphs, digits or letters, that a careful reader may not take for what they are.
DROPPED: dict[str, str] = {
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


@dataclass(frozen=True)
class Source:
    """A family's downloaded faces, and its rights."""

    family: Family
    faces: tuple[bytes, ...]
    copyright: str
    licence: str


def fetch(families: tuple[Family, ...], folder: Path) -> list[Source]:
    """Download the families into the folder."""
    npm = [family for family in families if not family.debian]
    specs = [f"{family.package}@{family.version}" for family in npm]
    subprocess.run(["npm", "pack", "--silent", *specs], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    packages = sorted({family.debian for family in families if family.debian})
    subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, check=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive.name, "debian"], cwd=folder, check=True)
    return [from_debian(family, folder) if family.debian else from_npm(family, folder) for family in families]


def from_npm(family: Family, folder: Path) -> Source:
    """Take a family out of its package."""
    archive = folder / f"{family.package[1:].replace('/', '-')}-{family.version}.tgz"
    with tarfile.open(archive) as tar:

        def read(path: str) -> bytes:
            member = tar.extractfile(f"package/{path}")
            if member is None:
                raise FileNotFoundError(path)
            return member.read()

        if family.face:
            faces = [read(family.face)]
        else:
            faces = [read(f"files/{family.name}-latin-{weight}-normal.woff2") for weight in family.weights]
        if family.scope == "@expo-google-fonts":
            licence = json.loads(read("package.json"))["license"].split(" AND ")[-1]
            rights = read("LICENSE_FONT").decode().splitlines()[0]
        else:
            terms = json.loads(read("metadata.json"))["license"]
            licence, rights = terms["type"], terms["attribution"]
    # Some name every file of the family, one after another, each with the same line.
    rights = re.split(r"\s+[\w\[\],-]+\.ttf:", rights.strip())[0].rstrip(".")
    return Source(family, tuple(faces), family.copyright or rights, licence)


def from_debian(family: Family, folder: Path) -> Source:
    """Take a family out of what Debian's packages were unpacked to."""
    face = folder / "debian" / "usr" / "share" / "fonts" / family.face
    return Source(family, (face.read_bytes(),), family.copyright, "OFL-1.1")  # as their Debian packages tell


def draw(face: ImageFont.FreeTypeFont, character: str) -> Pixels:
    """Draw a character, bright on black, with room around it."""
    image = Image.new("L", (5 * POINTS, 5 * POINTS))
    ImageDraw.Draw(image).text((2 * POINTS, 2 * POINTS), character, font=face, fill=255)
    return np.asarray(image, dtype=np.uint8)


def shape(drawing: Pixels) -> Pixels:
    """Fit the drawing's ink into MNIST's box, and lay its centre of mass in the image's centre."""
    rows = np.flatnonzero((drawing >= INK).any(axis=1))
    columns = np.flatnonzero((drawing >= INK).any(axis=0))
    ink = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    masses = small.astype(np.float64)
    y = float(masses.sum(axis=1) @ np.arange(height) / masses.sum())
    x = float(masses.sum(axis=0) @ np.arange(width) / masses.sum())
    middle = (SIDE - 1) / 2
    top = min(max(round(middle - y), 0), SIDE - height)
    left = min(max(round(middle - x), 0), SIDE - width)
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[top : top + height, left : left + width] = small
    return image


def alike(first: Pixels, second: Pixels) -> bool:
    """Whether two glyphs are one drawing."""
    return float(np.abs(first.astype(np.int16) - second).mean()) < TWIN


def glyphs(face_file: bytes, characters: str) -> dict[str, Pixels]:
    """Shape those of the characters that a face has."""
    face = ImageFont.truetype(BytesIO(face_file), POINTS, layout_engine=ImageFont.Layout.BASIC)
    missing = draw(face, "\uffff")
    drawings = {character: draw(face, character) for character in characters}
    return {
        character: shape(drawing)
        for character, drawing in drawings.items()
        if (drawing >= INK).any() and not np.array_equal(drawing, missing)
    }


def collect(sources: list[Source]) -> dict[str, NDArray[np.generic]]:
    """Make the arrays of all families' glyphs, without one family's copies of another's."""
    kept: dict[str, list[tuple[int, Pixels]]] = {character: [] for character in DIGITS + LETTERS}
    for index, source in enumerate(sources):
        wanted = [each for each in DIGITS + LETTERS if each not in DROPPED.get(source.family.name, "")]
        for face in source.faces:
            for character, glyph in glyphs(face, "".join(wanted)).items():
                if any(other != index and alike(glyph, known) for other, known in kept[character]):
                    continue
                if any(np.array_equal(glyph, known) for _, known in kept[character]):
                    continue
                kept[character].append((index, glyph))
    digits = [(glyph, int(digit), index) for digit in DIGITS for index, glyph in kept[digit]]
    letters: list[tuple[Pixels, int]] = []
    for letter in LETTERS:
        for index, glyph in kept[letter]:
            # Faces of capitals alone draw them for both cases.
            twin = kept[letter.upper()] if letter.islower() and letter.upper() in LETTERS else []
            if not any(np.array_equal(glyph, known) for _, known in twin):
                letters.append((glyph, index))
    return {
        "digits": np.stack([glyph for glyph, _, _ in digits]),
        "digit_labels": np.array([digit for _, digit, _ in digits], dtype=np.uint8),
        "digit_fonts": np.array([index for _, _, index in digits], dtype=np.uint16),
        "letters": np.stack([glyph for glyph, _ in letters]),
        "letter_fonts": np.array([index for _, index in letters], dtype=np.uint16),
        "fonts": np.array([source.family.name for source in sources]),
    }


def main(output: Path) -> None:
    """Fetch the fonts, and write the arrays and FONT_GLYPHS.md."""
    with tempfile.TemporaryDirectory() as folder:
        sources = fetch(FAMILIES, Path(folder))
    for source in sources:
        if source.licence not in LICENCES:
            raise ValueError(f"{source.family.name}: not open enough: {source.licence}")
    arrays = collect(sources)
    np.savez_compressed(
        output,
        digits=arrays["digits"],
        digit_labels=arrays["digit_labels"],
        digit_fonts=arrays["digit_fonts"],
        letters=arrays["letters"],
        letter_fonts=arrays["letter_fonts"],
        fonts=arrays["fonts"],
    )
    lines = [f"- {each.family.name}: {each.copyright}. {each.licence.strip()}" for each in sources]
    text = "# Whose hands\n\nThe fonts that drew the digits and letters, each with its licence.\n\n"
    output.with_name("FONT_GLYPHS.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    print(", ".join(f"{len(arrays[name])} {name}" for name in ("fonts", "digits", "letters")))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
