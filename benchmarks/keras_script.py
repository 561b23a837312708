"""Read a folder of digits as a user of Keras would: load the model, open and resize each image, predict.

python -m benchmarks.keras_script MODEL FOLDER one|batch

`benchmarks.speed` compares scans with it, predicting one image at a time or all in one batch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image


def main() -> None:
    """Print each file's name and digit."""
    model = keras.models.load_model(sys.argv[1])
    paths = sorted(Path(sys.argv[2]).iterdir())
    images = (np.asarray(Image.open(path).convert("L").resize((28, 28)), np.float32) / 255 for path in paths)
    if sys.argv[3] == "batch":
        scores = model.predict(np.stack(list(images))[..., None], verbose=0)
        for path, image_scores in zip(paths, scores, strict=True):
            print(path.name, image_scores.argmax())
        return
    for path, image in zip(paths, images, strict=True):
        print(path.name, model.predict(image[None, ..., None], verbose=0).argmax())


if __name__ == "__main__":
    main()
