"""Hostile `.h5` and `.keras` files, which a scan must refuse: for tests/model and for `tests.stress.torture`.

A file can attack in its configuration (a `Change` of the JSON in `model_config`) or in its HDF5 structure (an
`Attack` on the open file).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

Attack = Callable[[h5py.File, Path], None]
"""Changes an open `.h5`; the folder is where another HDF5 file, `other.h5`, and the file `secret` may be."""
Change = Callable[[dict[str, Any]], object]
"""Changes a model's configuration in place."""


def build_network(
    *inner: Any, shape: tuple[int | None, ...] = (28, 28, 1), end: str = "softmax", classes: int = 11
) -> Any:
    """Return a small Keras model of digits with the layers `inner`, ending in a Dense layer with `end`."""
    return keras.Sequential(
        [keras.Input(shape), *inner, layers.Flatten(), layers.Dense(classes, activation=end)]
    )


def build_line_network(*inner: Any, width: int | None = None, classes: int = 13) -> Any:
    """Return a small Keras model of lines with the layers `inner` at 8 x W/4 places."""
    return keras.Sequential(
        [
            keras.Input((32, width, 1)),
            layers.Conv2D(8, 5, strides=4, padding="same", activation="relu"),
            *inner,
            layers.Conv2D(classes, (8, 1), activation="softmax"),
        ]
    )


def save_h5(keras_model: Any, folder: Path) -> Path:
    """Save a model as `untrusted.h5` in a folder; return the path."""
    path = folder / "untrusted.h5"
    keras_model.save(path)
    return path


def change_config(path: Path, change: Change) -> bytes:
    """Change the configuration inside an `.h5`; return the bytes of the file."""
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path.read_bytes()


def change_zip(data: bytes, **contents: bytes | None) -> bytes:
    """Return a `.keras` file with other members; a name's dots are given as `__`, and None removes one."""
    changes = {name.replace("__", "."): content for name, content in contents.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        members = {name: old.read(name) for name in old.namelist()} | changes
        for name, content in members.items():
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def change_zip_config(data: bytes, change: Change) -> bytes:
    """Return a `.keras` file whose configuration is changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return change_zip(data, config__json=json.dumps(config).encode())


def attack_zip(data: bytes, attack: Attack, folder: Path) -> bytes:
    """Return a `.keras` file whose HDF5 file was attacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        buffer = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(buffer, "a") as file:
        file.require_group("model_weights")  # what the attacks on an `.h5` change
        attack(file, folder)
    return change_zip(data, model__weights__h5=buffer.getvalue())


def build_lambda(path: Path) -> Any:
    """Return a Lambda layer whose code writes the file `path` when it runs."""
    return layers.Lambda(eval(f"lambda x: (open({str(path)!r}, 'w').close(), x)[1]"))


def set_in_first_layer(**values: Any) -> Change:
    """Return a change of values in the `config` of the first layer."""
    return lambda config: config["config"]["layers"][1]["config"].update(values)


def set_first_layer(**values: Any) -> Change:
    """Return a change of the first layer's own values, such as its `class_name`."""
    return lambda config: config["config"]["layers"][1].update(values)


def nest_deeply(config: dict[str, Any]) -> None:
    """Nest the layers in 60 models."""
    for _ in range(60):
        config["config"]["layers"] = [
            {"class_name": "Sequential", "config": {"layers": config["config"]["layers"]}}
        ]


def call_often(config: dict[str, Any]) -> None:
    """Add models that call models that call a layer: 19,683 calls in all."""
    layer = dict(config["config"]["layers"][1])
    for _ in range(3):
        layer = {"class_name": "Functional", "config": {"layers": [layer] * 3}, "inbound_nodes": [[]] * 9}
    config["config"]["layers"].append(layer)


def add_soft_link(file: h5py.File, folder: Path) -> None:
    """Add a link to another place in the file."""
    file["model_weights"]["again"] = h5py.SoftLink("/model_weights")


def add_external_link(file: h5py.File, folder: Path) -> None:
    """Add a link into another file."""
    file["model_weights"]["other"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def add_hard_link_loop(file: h5py.File, folder: Path) -> None:
    """Make a group contain itself."""
    file["model_weights"]["loop"] = file["model_weights"]


def add_virtual_dataset(file: h5py.File, folder: Path) -> None:
    """Add a dataset whose values are in another HDF5 file."""
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "values", (4,))
    file["model_weights"].create_virtual_dataset("values", layout)


def add_external_dataset(file: h5py.File, folder: Path) -> None:
    """Add a dataset whose values are the bytes of any other file."""
    file.create_dataset("values", (4,), "f4", external=[(str(folder / "secret"), 0, 16)])


def add_huge_dataset(file: h5py.File, folder: Path) -> None:
    """Add a dataset that declares 4 TB and stores nothing."""
    file.create_dataset("values", (10**12,), "f4", chunks=(1024,))


def add_dataset_beyond_64_bits(file: h5py.File, folder: Path) -> None:
    """Add a dataset whose declared size does not fit into 64 bits."""
    file.create_dataset("values", (2**31, 2**31, 4), "f4", chunks=(1, 1, 4))


def add_compressed_dataset(file: h5py.File, folder: Path) -> None:
    """Add a compressed dataset, which could be a decompression bomb."""
    file.create_dataset("values", data=np.zeros(10**6), compression="gzip")


def add_text_dataset(file: h5py.File, folder: Path) -> None:
    """Add a dataset that holds texts."""
    file["values"] = ["text"]


def add_object_reference(file: h5py.File, folder: Path) -> None:
    """Add an attribute that refers to another object."""
    file.attrs["ref"] = file["model_weights"].ref


def remove_config(file: h5py.File, folder: Path) -> None:
    """Remove the network, as in a file of weights alone."""
    del file.attrs["model_config"]


def break_config(file: h5py.File, folder: Path) -> None:
    """Replace the network by JSON that is nested without end."""
    file.attrs["model_config"] = "{" * 100_000


def remove_weights(file: h5py.File, folder: Path) -> None:
    """Remove the weights."""
    del file["model_weights"]


ATTACKS: tuple[Attack, ...] = (
    add_soft_link,
    add_external_link,
    add_hard_link_loop,
    add_virtual_dataset,
    add_external_dataset,
    add_huge_dataset,
    add_dataset_beyond_64_bits,
    add_compressed_dataset,
    add_text_dataset,
    add_object_reference,
    remove_config,
    break_config,
    remove_weights,
)


def hostile_models(folder: Path, proof: Path, secret: Path) -> Iterator[tuple[str, Path]]:
    """Write hostile models into a folder; yield a description and the path of each. All must be refused.

    Opened without validation, they would write the file `proof`, or read the file `secret`.
    """
    for description, keras_model, change in _hostile_networks(folder, proof, secret):
        path = _save_numbered(keras_model, folder)
        proof.unlink(missing_ok=True)  # Keras runs a Lambda when the model is built
        if change is not None:
            path.write_bytes(change_config(path, change))
        yield description, path
    for attack in ATTACKS:
        path = _save_numbered(build_network(), folder)
        with h5py.File(path, "a") as file:
            attack(file, folder)
        yield attack.__name__.replace("_", " "), path
    yield from _hostile_zips(folder)


def _hostile_zips(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write hostile `.keras` files into a folder; yield as `hostile_models` does."""
    path = folder / "untrusted.keras"
    build_network().save(path)
    whole = path.read_bytes()
    path.unlink()
    files = {
        attack.__name__: attack_zip(whole, attack, folder)
        for attack in ATTACKS
        if attack.__name__.startswith("add")
    }
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(10**8))
        archive.writestr("model.weights.h5", b"")
    files["zip bomb"] = bomb.getvalue()
    files["a file outside of the folder"] = change_zip(whole, **{"../../escaped": b""})
    for description, data in files.items():
        path = folder / f"{len(list(folder.iterdir()))}.keras"
        path.write_bytes(data)
        yield f"{description.replace('_', ' ')} in a .keras file", path


def _hostile_networks(folder: Path, proof: Path, secret: Path) -> Iterator[tuple[str, Any, Change | None]]:
    """Yield a description, a Keras model, and how its configuration is to be changed once it is saved."""
    yield "a Lambda", build_network(build_lambda(proof)), None
    sequential = keras.Sequential([keras.Input((28, 28, 1)), build_lambda(proof)])
    yield "a Lambda in a Sequential", build_network(sequential), None
    image = keras.Input((28, 28, 1))
    functional = keras.Model(image, build_lambda(proof)(image))
    nested = keras.Sequential([keras.Input((28, 28, 1)), functional])
    yield "a Lambda in a Functional in a Sequential", build_network(nested), None

    changes = {
        "a TFSMLayer": set_first_layer(
            class_name="TFSMLayer", config={"name": "layer", "filepath": str(folder)}
        ),
        "a StringLookup with a file": set_first_layer(
            class_name="StringLookup",
            config={"name": "layer", "vocabulary": str(secret), "output_mode": "int"},
        ),
        "a Lambda in a TimeDistributed": set_first_layer(
            class_name="TimeDistributed", config={"layer": {"class_name": "Lambda", "config": {}}}
        ),
        "a class of another module": set_first_layer(
            module="os", class_name="system", registered_name="os>system"
        ),
        "eval as an activation": set_in_first_layer(
            activation={"class_name": "function", "module": "builtins", "config": "eval"}
        ),
        "nested 60 deep": nest_deeply,
        "thousands of calls": call_often,
        "10^10 filters": set_in_first_layer(filters=10**10),
        "a million filters": set_in_first_layer(filters=1_000_000),
    }
    for description, change in changes.items():
        yield description, build_network(layers.Conv2D(2, 3)), change
    for description, rows in (("10^10", 10**10), ("900,000", 900_000)):
        change = set_in_first_layer(padding=[[rows, 0], [0, 0]])
        yield f"ZeroPadding2D of {description} rows", build_network(layers.ZeroPadding2D(1)), change

    enlarged = build_network(layers.UpSampling2D(100), layers.MaxPooling2D(100))
    yield "UpSampling2D to 2800x2800", enlarged, None
    yield "an input of 32x32", build_network(shape=(32, 32, 1)), None
    yield "an input of any size", build_network(layers.GlobalMaxPooling2D(), shape=(None, None, 1)), None
    yield "26 classes", build_network(classes=26), None


def _save_numbered(keras_model: Any, folder: Path) -> Path:
    return save_h5(keras_model, folder).rename(folder / f"{len(list(folder.iterdir()))}.h5")


def truncated_models(whole: bytes, seed: int, cuts: int) -> Iterator[bytes]:
    """Yield a valid model truncated at many lengths, and random bytes. All must be refused."""
    random = Random(seed)
    for length in (0, 1, 7, 8, 9, 100, len(whole) - 1, *(random.randrange(len(whole)) for _ in range(cuts))):
        yield whole[:length]
    for length in (8, 1000, 100_000):
        yield random.randbytes(length)
        yield whole[:8] + random.randbytes(length)


def bit_flipped_models(whole: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield a valid model with one to eight bits flipped at random; it may still be valid."""
    random = Random(seed)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(random.randint(1, 8)):
            data[random.randrange(len(whole))] ^= 1 << random.randrange(8)
        yield bytes(data)
