"""What strangers may put into a `.h5` and a scan must refuse, for the tests and `tests.stress.torture`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

Attack = Callable[[h5py.File, Path], None]
Change = Callable[[dict[str, Any]], object]


def network(
    *inner: Any, shape: tuple[int | None, ...] = (28, 28, 1), end: str = "softmax", classes: int = 11
) -> Any:
    """Return a small network of digits around some layers."""
    return keras.Sequential(
        [keras.Input(shape), *inner, layers.Flatten(), layers.Dense(classes, activation=end)]
    )


def h5_of(keras_model: Any, folder: Path) -> Path:
    """Save a network; return the path."""
    path = folder / "stranger.h5"
    keras_model.save(path)
    return path


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the file with its configuration changed, everything else as it was."""
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path.read_bytes()


def lambda_that_writes(path: Path) -> Any:
    """Return a layer whose code would write a file."""
    return layers.Lambda(eval(f"lambda x: (open({str(path)!r}, 'w').close(), x)[1]"))


def first_layer(**values: Any) -> Callable[[dict[str, Any]], object]:
    """Return what changes values in the configuration of the first layer."""
    return lambda config: config["config"]["layers"][1]["config"].update(values)


def replace_layer(**values: Any) -> Callable[[dict[str, Any]], object]:
    """Return what changes the first layer itself."""
    return lambda config: config["config"]["layers"][1].update(values)


def deep(config: dict[str, Any]) -> None:
    """Nest it sixty deep."""
    for _ in range(60):
        config["config"]["layers"] = [
            {"class_name": "Sequential", "config": {"layers": config["config"]["layers"]}}
        ]


def many(config: dict[str, Any]) -> None:
    """Call one layer thousands of times."""
    inner = dict(config["config"]["layers"][1])
    for _ in range(3):
        inner = {"class_name": "Functional", "config": {"layers": [inner] * 3}, "inbound_nodes": [[]] * 9}
    config["config"]["layers"].append(inner)


def soft_link(file: h5py.File, folder: Path) -> None:
    """Lead to another place in the file."""
    file["model_weights"]["again"] = h5py.SoftLink("/model_weights")


def external_link(file: h5py.File, folder: Path) -> None:
    """Lead to another file."""
    file["model_weights"]["other"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def hard_link(file: h5py.File, folder: Path) -> None:
    """Lead in a circle."""
    file["model_weights"]["loop"] = file["model_weights"]


def virtual(file: h5py.File, folder: Path) -> None:
    """Take values from another file."""
    csv_format = h5py.VirtualLayout((4,), "f4")
    csv_format[:] = h5py.VirtualSource(str(folder / "other.h5"), "values", (4,))
    file["model_weights"].create_virtual_dataset("values", csv_format)


def external_storage(file: h5py.File, folder: Path) -> None:
    """Take bytes from any file."""
    file.create_dataset("values", (4,), "f4", external=[(str(folder / "secret"), 0, 16)])


def declared_huge(file: h5py.File, folder: Path) -> None:
    """Declare terabytes."""
    file.create_dataset("values", (10**12,), "f4", chunks=(1024,))


def declared_beyond_64_bits(file: h5py.File, folder: Path) -> None:
    """Declare more than 64 bits count."""
    file.create_dataset("values", (2**31, 2**31, 4), "f4", chunks=(1, 1, 4))


def compressed(file: h5py.File, folder: Path) -> None:
    """Be a bomb."""
    file.create_dataset("values", data=np.zeros(10**6), compression="gzip")


def strings(file: h5py.File, folder: Path) -> None:
    """Hold words."""
    file["values"] = ["text"]


def odd_attribute(file: h5py.File, folder: Path) -> None:
    """Refer to an object."""
    file.attrs["ref"] = file["model_weights"].ref


def no_config(file: h5py.File, folder: Path) -> None:
    """Hold no network."""
    del file.attrs["model_config"]


def no_json(file: h5py.File, folder: Path) -> None:
    """Hold braces alone."""
    file.attrs["model_config"] = "{" * 100_000


def no_weights(file: h5py.File, folder: Path) -> None:
    """Hold no weights."""
    del file["model_weights"]


STRUCTURES: tuple[Attack, ...] = (
    soft_link,
    external_link,
    hard_link,
    virtual,
    external_storage,
    declared_huge,
    declared_beyond_64_bits,
    compressed,
    strings,
    odd_attribute,
    no_config,
    no_json,
    no_weights,
)


def hostile_models(folder: Path, proof: Path, secret: Path) -> Iterator[tuple[str, Path]]:
    """Write models into a folder; yield what each tries and where it is. None may be used.

    Were one opened carelessly, it would write the file `proof`, or read the file `secret`.
    """

    def built(what: str, *inner: Any, change: Change | None = None, **shape: Any) -> tuple[str, Path]:
        path = h5_of(network(*inner, **shape), folder).rename(folder / f"{len(list(folder.iterdir()))}.h5")
        proof.unlink(missing_ok=True)  # building a Lambda runs it
        if change:
            path.write_bytes(changed(path, change))
        return what, path

    inner = lambda_that_writes(proof)
    yield built("a Lambda", inner)
    nested = keras.Sequential([keras.Input((28, 28, 1)), lambda_that_writes(proof)])
    yield built("a Lambda in a Sequential", nested)
    image = keras.Input((28, 28, 1))
    twice = keras.Sequential([keras.Input((28, 28, 1)), keras.Model(image, lambda_that_writes(proof)(image))])
    yield built("a Lambda in a Functional in a Sequential", twice)
    plain = layers.Conv2D
    program = replace_layer(class_name="TFSMLayer", config={"name": "t", "filepath": str(folder)})
    yield built("a TFSMLayer", plain(2, 3), change=program)
    words = {"name": "s", "vocabulary": str(secret), "output_mode": "int"}
    lookup = replace_layer(class_name="StringLookup", config=words)
    yield built("a StringLookup with a file", plain(2, 3), change=lookup)
    within = {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}}
    yield built("a Lambda in a TimeDistributed", plain(2, 3), change=replace_layer(**within))
    mine = replace_layer(module="os", class_name="system", registered_name="os>system")
    yield built("a class of another module", plain(2, 3), change=mine)
    function = {"class_name": "function", "module": "builtins", "config": "eval"}
    yield built("eval as an activation", plain(2, 3), change=first_layer(activation=function))
    yield built("nested 60 deep", plain(2, 3), change=deep)
    yield built("thousands of calls", plain(2, 3), change=many)
    yield built("10^10 filters", plain(2, 3), change=first_layer(filters=10**10))
    yield built("a million filters", plain(2, 3), change=first_layer(filters=1_000_000))
    padding = first_layer(padding=[[10**10, 0], [0, 0]])
    yield built("ZeroPadding2D of 10^10 rows", layers.ZeroPadding2D(1), change=padding)
    padding = first_layer(padding=[[900_000, 0], [0, 0]])
    yield built("ZeroPadding2D of 900,000 rows", layers.ZeroPadding2D(1), change=padding)
    yield built("UpSampling2D to 2800x2800", layers.UpSampling2D(100), layers.MaxPooling2D(100))
    yield built("an input of 32x32", shape=(32, 32, 1))
    yield built("an input of any size", layers.GlobalMaxPooling2D(), shape=(None, None, 1))
    yield built("26 classes", classes=26)
    for attack in STRUCTURES:
        what, path = built(attack.__name__.replace("_", " "))
        with h5py.File(path, "a") as file:
            attack(file, folder)
        yield what, path


def mutilated_models(whole: bytes, seed: int, cuts: int) -> Iterator[bytes]:
    """Yield a good model cut short at many lengths, and noise. None may be used."""
    random = Random(seed)
    for length in (0, 1, 7, 8, 9, 100, len(whole) - 1, *(random.randrange(len(whole)) for _ in range(cuts))):
        yield whole[:length]
    for length in (8, 1000, 100_000):
        yield random.randbytes(length)
        yield whole[:8] + random.randbytes(length)


def flipped_models(whole: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield a good model with one to eight bits flipped anywhere, which may leave it a good one."""
    random = Random(seed)
    for _ in range(count):
        changed_bytes = bytearray(whole)
        for _ in range(random.randint(1, 8)):
            changed_bytes[random.randrange(len(whole))] ^= 1 << random.randrange(8)
        yield bytes(changed_bytes)
