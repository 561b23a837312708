"""The shipped MNIST is what it says; the user's own data are read in three forms or refused in words."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digitscan.errors import DataError
from digitscan.training.data import sources as mnist
from digitscan.training.data.sources import IDX_FILES, TrainTestData, load_data

Arrays = dict[str, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Twenty training and ten test digits of the shipped file."""
    real = load_data()
    return {
        "x_train": real.x_train[:20],
        "y_train": real.y_train[:20],
        "x_test": real.x_test[:10],
        "y_test": real.y_test[:10],
    }


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    np.savez(path, allow_pickle=True, **arrays)


def idx(array: NDArray[np.uint8]) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_idx_files(folder: Path, arrays: Arrays, dot: bool = False, zipped: bool = False) -> None:
    for name, file in IDX_FILES.items():
        data = idx(arrays[name])
        path = folder / ((file.replace("-idx", ".idx") if dot else file) + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(data) if zipped else data)


def assert_same(got: TrainTestData, arrays: Arrays) -> None:
    for name, array in arrays.items():
        assert np.array_equal(getattr(got, name), array)
        assert getattr(got, name).dtype == np.uint8


def test_the_shipped_file_is_all_of_mnist() -> None:
    """60,000 training and 10,000 test digits, each class as often as the original has it."""
    real = load_data()
    assert real.x_train.shape == (60000, 28, 28)
    assert real.x_test.shape == (10000, 28, 28)
    assert np.bincount(real.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_damaged_shipped_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed byte is enough."""
    data = bytearray(mnist.BUNDLED.read_bytes())
    data[5_000_000] ^= 1
    copy = tmp_path / "mnist.npz"
    copy.write_bytes(data)
    monkeypatch.setattr(mnist, "BUNDLED", copy)
    with pytest.raises(DataError, match="is damaged: install digitscan again"):
        load_data()


def test_another_npz_of_the_same_arrays_is_read(tmp_path: Path, arrays: Arrays) -> None:
    """Labels may have any integer type; they come back as uint8."""
    path = tmp_path / "own.npz"
    write_npz(path, arrays | {"y_train": arrays["y_train"].astype(np.int64)})
    assert_same(load_data(path), arrays)


@pytest.mark.parametrize(("dot", "zipped"), [(False, False), (True, True), (False, True), (True, False)])
def test_the_four_idx_files_are_read_however_they_are_spelled(
    tmp_path: Path, arrays: Arrays, dot: bool, zipped: bool
) -> None:
    """A dot or a dash before idx, plain or gzipped."""
    write_idx_files(tmp_path, arrays, dot, zipped)
    assert_same(load_data(tmp_path), arrays)


def test_images_by_label_are_preprocessed_and_a_seventh_is_for_testing(
    tmp_path: Path, arrays: Arrays
) -> None:
    """The same ones each time: no teacher has learned what its pupil is tested on."""
    for k, (picture, label) in enumerate(zip(arrays["x_train"], arrays["y_train"], strict=True)):
        folder = tmp_path / str(label)
        folder.mkdir(exist_ok=True)
        big = Image.fromarray(255 - picture).resize((90, 90))
        big.save(folder / f"{k:02}.png")
    (tmp_path / "3" / "broken.png").write_bytes(b"no picture")
    Image.new("L", (50, 50), 255).save(tmp_path / "3" / "empty.png")
    told: list[str] = []
    got = load_data(tmp_path, unusable=lambda path, why: told.append(path.name))
    assert sorted(told) == ["broken.png", "empty.png"]
    assert got.x_train.shape == (18, 28, 28)
    assert got.x_test.shape == (2, 28, 28)
    assert sorted([*got.y_train, *got.y_test]) == sorted(arrays["y_train"])
    again = load_data(tmp_path)
    assert np.array_equal(got.x_train, again.x_train)
    assert np.array_equal(got.x_test, again.x_test)


def test_too_few_images_by_label_are_refused(tmp_path: Path, arrays: Arrays) -> None:
    """A test part must be possible."""
    (tmp_path / "3").mkdir()
    Image.fromarray(arrays["x_train"][0]).save(tmp_path / "3" / "a.png")
    with pytest.raises(DataError, match="has 1 usable images: expected are 14 at least"):
        load_data(tmp_path)


def test_other_places_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    """Missing, an empty folder, a text file."""
    (tmp_path / "text.npz").write_text("digits")
    for path, found in (
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "is a folder without digits"),
        (tmp_path / "text.npz", r"is no \.npz file"),
    ):
        with pytest.raises(DataError, match=f"{found}: expected is an .npz with x_train"):
            load_data(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": np.zeros((20, 28, 28), np.float32)}, "images of train are float32"),
        ({"x_test": np.zeros((10, 32, 32), np.uint8)}, r"images of test are uint8 \(10, 32, 32\)"),
        ({"y_train": np.zeros(19, np.uint8)}, r"labels of train are uint8 \(19,\)"),
        ({"y_test": np.full(10, 10, np.uint8)}, "labels of test go from 10 to 10, expected is 0 to 9"),
        ({"y_test": np.full(10, -1, np.int64)}, "labels of test go from -1 to -1"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)}, "N > 0"),
        ({"y_test": np.array([object()] * 10)}, "is damaged or holds something else than arrays"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused_by_name(
    tmp_path: Path, arrays: Arrays, change: dict[str, NDArray[np.generic]], words: str
) -> None:
    """What was found and what was expected; pickled objects are never loaded."""
    path = tmp_path / "own.npz"
    write_npz(path, arrays | change)
    with pytest.raises(DataError, match=words):
        load_data(path)


def test_a_missing_array_is_named(tmp_path: Path, arrays: Arrays) -> None:
    """So that a typing error is seen at once."""
    path = tmp_path / "own.npz"
    np.savez(path, x_train=arrays["x_train"], labels=arrays["y_train"])
    with pytest.raises(DataError, match=r"holds x_train, labels, not y_train, x_test, y_test"):
        load_data(path)


def test_a_cut_npz_is_refused(tmp_path: Path, arrays: Arrays) -> None:
    """At any length."""
    path = tmp_path / "own.npz"
    write_npz(path, arrays)
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 7):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"own\.npz is"):
            load_data(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-5], "but it has"),
        (lambda data: data + b"x", "but it has"),
        (lambda data: b"\0\0\x0d" + data[3:], "starts with 00 00 0d 03, expected is 00 00 08 03"),
        (lambda data: b"", "starts with nothing"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "but it has"),
        (lambda data: gzip.compress(data)[:-20], "is a damaged gzip file"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path: Path, arrays: Arrays, damage: object, words: str) -> None:
    """By its first bytes, its declared size or its gzip checks."""
    assert callable(damage)
    write_idx_files(tmp_path, arrays)
    path = tmp_path / IDX_FILES["x_train"]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=words):
        load_data(tmp_path)


def test_a_missing_idx_file_is_named(tmp_path: Path, arrays: Arrays) -> None:
    """Three of four are not enough."""
    write_idx_files(tmp_path, arrays)
    (tmp_path / IDX_FILES["y_test"]).unlink()
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte, plain or gzipped"):
        load_data(tmp_path)
