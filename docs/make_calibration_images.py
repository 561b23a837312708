"""Write digitscan/data/calibration_images.npz: `python docs/make_calibration_images.py`.

The compiler runs these 500 preprocessed training images through a network to learn the range of values in
each layer, which it needs to choose int8 scales. With their labels they show which input range a model of
somebody else was made for. They are a file of their own because loading all of MNIST
for them takes a second. Run this again whenever `PREPROCESS_VERSION` is raised; a test compares the two.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.sources import load_data

PATH = Path(__file__).resolve().parents[1] / "digitscan" / "data" / "calibration_images.npz"
COUNT = 500


def make_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first 500 of MNIST's training images as a model sees them, and their labels.

    They are (N, 28, 28) and (N,) uint8.
    """
    data = load_data()
    labelled = [
        (pixels, label)
        for image, label in zip(data.x_train[:COUNT], data.y_train, strict=False)
        if (pixels := preprocess(image).pixels) is not None
    ]
    images, labels = zip(*labelled, strict=True)
    return np.stack(images), np.array(labels, np.uint8)


if __name__ == "__main__":
    images, labels = make_images()
    np.savez_compressed(PATH, images=images, labels=labels)
