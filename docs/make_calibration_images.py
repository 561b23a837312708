"""Write digitscan/data/calibration_images.npz: `python docs/make_calibration_images.py`.

The compiler runs these 500 preprocessed training images through a network to learn the range of values in
each layer, which it needs to choose int8 scales. They are a file of their own because loading all of MNIST
for them takes a second. Run this again whenever `PREPROCESS_VERSION` is raised; a test compares the two.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.sources import load_data

PATH = Path(__file__).resolve().parents[1] / "digitscan" / "data" / "calibration_images.npz"
COUNT = 500


def make_images() -> NDArray[np.uint8]:
    """Return the first 500 of MNIST's training images as a model sees them: (500, 28, 28) uint8."""
    preprocessed = [preprocess(image).pixels for image in load_data().x_train[:COUNT]]
    return np.stack([pixels for pixels in preprocessed if pixels is not None])


if __name__ == "__main__":
    np.savez_compressed(PATH, images=make_images())
