"""Pictures that the tests are made of."""

import numpy as np
from PIL import Image, ImageDraw


def digit_picture(size=64):
    """A seven, black on white, as an 8-bit gray Pillow image."""
    image = Image.new("L", (size, size), 255)
    points = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line([(x * size, y * size) for x, y in points], fill=0, width=size // 10)
    return image


def pixels_of(image):
    """A Pillow image as an array."""
    return np.asarray(image)
