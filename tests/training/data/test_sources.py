"""Training data are read in each of their forms, and what cannot be used is refused with the reason."""

import gzip
import os
import struct

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import DataError
from digitscan.evaluation import mnist
from digitscan.training.data import sources
from digitscan.training.data.sources import IDX_FILES, load_data


@pytest.fixture(scope="module")
def arrays(mnist):
    """Twenty-eight training and ten test digits of MNIST, by the names of the arrays."""
    return {
        "x_train": mnist.x_train[:28],
        "y_train": mnist.y_train[:28],
        "x_test": mnist.x_test[:10],
        "y_test": mnist.y_test[:10],
    }


def write_npz(path, arrays):
    np.savez(path, allow_pickle=True, **arrays)


def encode_idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx_files(folder, arrays, has_dot=False, is_gzipped=False):
    for name, file_name in IDX_FILES.items():
        data = encode_idx(arrays[name])
        spelling = file_name.replace("-idx", ".idx") if has_dot else file_name
        path = folder / (spelling + (".gz" if is_gzipped else ""))
        path.write_bytes(gzip.compress(data) if is_gzipped else data)


def assert_same(data, arrays):
    for name, array in arrays.items():
        assert np.array_equal(getattr(data, name), array)
        assert getattr(data, name).dtype == np.uint8


def test_the_bundled_file_is_all_of_mnist(mnist):
    """60,000 training and 10,000 test digits, each class as often as in the original."""
    assert mnist.x_train.shape == (60000, 28, 28)
    assert mnist.x_test.shape == (10000, 28, 28)
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_damaged_bundled_file_is_refused(tmp_path, monkeypatch):
    """One changed byte is enough."""
    data = bytearray(mnist.MNIST_PATH.read_bytes())
    data[5_000_000] ^= 1
    copy = tmp_path / "mnist.npz"
    copy.write_bytes(data)
    monkeypatch.setattr(mnist, "MNIST_PATH", copy)
    with pytest.raises(DataError, match="is damaged: install digitscan again"):
        load_data()


def test_a_missing_bundled_file_is_an_error_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MNIST_PATH", tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"the bundled .*mnist\.npz cannot be read: No such file"):
        load_data()


def test_another_npz_of_the_same_arrays_is_read(tmp_path, arrays):
    """Labels may have any integer type; they are returned as uint8."""
    path = tmp_path / "own.npz"
    write_npz(path, arrays | {"y_train": arrays["y_train"].astype(np.int64)})
    assert_same(load_data(path), arrays)


@pytest.mark.parametrize("has_dot", [False, True])
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_the_four_idx_files_are_read_in_each_spelling(has_dot, is_gzipped, tmp_path, arrays):
    """A dot or a dash before idx, plain or gzipped."""
    write_idx_files(tmp_path, arrays, has_dot, is_gzipped)
    assert_same(load_data(tmp_path), arrays)


@pytest.fixture
def image_folder(tmp_path, arrays):
    """A folder of 28 images by label, dark on light and larger than MNIST's, and two unusable files."""
    for index, (image, label) in enumerate(zip(arrays["x_train"], arrays["y_train"], strict=True)):
        subfolder = tmp_path / str(label)
        subfolder.mkdir(exist_ok=True)
        Image.fromarray(255 - image).resize((90, 90)).save(subfolder / f"{index:02}.png")
    (tmp_path / "3" / "broken.png").write_bytes(b"not an image")
    Image.new("L", (50, 50), 255).save(tmp_path / "3" / "empty.png")
    return tmp_path


def test_every_seventh_image_of_a_folder_is_for_testing(image_folder, arrays):
    data = load_data(image_folder)
    assert data.x_train.shape == (24, 28, 28)
    assert data.x_test.shape == (4, 28, 28)
    assert sorted([*data.y_train, *data.y_test]) == sorted(arrays["y_train"])


def test_the_images_for_testing_are_the_same_each_time(image_folder):
    """Otherwise a network could be tested on images that its teacher was trained on."""
    first, second = load_data(image_folder), load_data(image_folder)
    assert np.array_equal(first.x_train, second.x_train)
    assert np.array_equal(first.x_test, second.x_test)


def test_unusable_images_of_a_folder_are_left_out_and_reported(image_folder):
    reasons = {}
    load_data(image_folder, on_unusable=lambda path, reason: reasons.update({path.name: reason}))
    assert reasons == {"broken.png": "not an image: text", "empty.png": "blank"}


def test_a_folder_whose_name_is_no_digit_is_reported(image_folder):
    (image_folder / "letters").mkdir()
    reasons = {}
    load_data(image_folder, on_unusable=lambda path, reason: reasons.update({path.name: reason}))
    assert reasons["letters"] == "its name is no digit, 0 to 9"


def test_a_folder_without_a_usable_image_is_refused(tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "a.png").write_text("no image")
    with pytest.raises(DataError, match="has no usable image: every file was left out"):
        load_data(tmp_path)


def test_a_folder_of_too_few_images_is_refused(tmp_path, arrays):
    """Some must be left for testing."""
    (tmp_path / "3").mkdir()
    Image.fromarray(arrays["x_train"][0]).save(tmp_path / "3" / "a.png")
    with pytest.raises(DataError, match=r"has 1 usable images to train on, and 0 to test .*: at least 20"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing", "does not exist"),
        ("empty", "is a folder without digits"),
        ("text.npz", r"is not an \.npz file"),
    ],
)
def test_other_sources_are_refused_with_what_was_expected(name, problem, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("digits")
    with pytest.raises(DataError, match=f"{problem}: expected an \\.npz file with x_train"):
        load_data(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((20, 28, 28), np.float32)}, "training images are float32"),
        ({"x_test": np.zeros((10, 32, 32), np.uint8)}, r"test images are uint8 \(10, 32, 32\)"),
        ({"y_train": np.zeros(19, np.uint8)}, r"training labels are uint8 \(19,\)"),
        ({"y_test": np.full(10, 10, np.uint8)}, "test labels range from 10 to 10, expected 0 to 9"),
        ({"y_test": np.full(10, -1, np.int64)}, "test labels range from -1 to -1"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)}, "N > 0"),
        ({"y_test": np.array([object()] * 10)}, "is damaged or contains something other than arrays"),
    ],
)
def test_arrays_of_a_wrong_type_shape_or_value_are_refused_with_their_name(change, message, tmp_path, arrays):
    """Pickled objects are never loaded."""
    path = tmp_path / "own.npz"
    write_npz(path, arrays | change)
    with pytest.raises(DataError, match=message):
        load_data(path)


def test_a_missing_array_is_named(tmp_path, arrays):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=arrays["x_train"], labels=arrays["y_train"])
    with pytest.raises(DataError, match="contains x_train, labels, but not y_train, x_test, y_test"):
        load_data(path)


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path, arrays, monkeypatch):
    path = tmp_path / "own.npz"
    write_npz(path, arrays)
    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match="more than the limit of 1000"):
        load_data(path)


def test_a_truncated_npz_is_refused(tmp_path, arrays):
    path = tmp_path / "own.npz"
    write_npz(path, arrays)
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 7):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"own\.npz is"):
            load_data(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-5], "but it has"),
        (lambda data: data + b"x", "but it has"),
        (lambda data: b"\0\0\x0d" + data[3:], "starts with 00 00 0d 03, expected 00 00 08 03"),
        (lambda data: b"", "starts with nothing"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "bytes: expected 1 to 2000000000"),
        (lambda data: data[:4] + b"\xff" * 8 + b"\0" * 4, "which is 0 bytes: expected 1 to 2000000000"),
        (lambda data: gzip.compress(data)[:-20], "is a damaged gzip file"),
    ],
    ids=[
        "truncated",
        "too long",
        "another type",
        "empty",
        "huge shape",
        "overflowing shape",
        "truncated gzip",
    ],
)
def test_a_damaged_idx_file_is_refused(damage, message, tmp_path, arrays):
    """By its first bytes, its declared size or its gzip checks."""
    write_idx_files(tmp_path, arrays)
    path = tmp_path / IDX_FILES["x_train"]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        load_data(tmp_path)


@pytest.mark.parametrize("name", ["own.npz", "folder"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(name, tmp_path, arrays):
    if name == "folder":
        (tmp_path / name).mkdir()
        write_idx_files(tmp_path / name, arrays)
        pipe = tmp_path / name / IDX_FILES["x_train"]
        pipe.unlink()
    else:
        pipe = tmp_path / name
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"is a pipe, socket or device|lacks train-images-idx3-ubyte"):
        load_data(tmp_path / name)


def test_an_npz_in_fortran_order_is_read(tmp_path, arrays):
    path = tmp_path / "own.npz"
    write_npz(path, {name: np.asfortranarray(array) for name, array in arrays.items()})
    data = load_data(path)
    assert_same(data, arrays)
    assert data.x_train.flags.c_contiguous


def test_a_missing_idx_file_is_named(tmp_path, arrays):
    write_idx_files(tmp_path, arrays)
    (tmp_path / IDX_FILES["y_test"]).unlink()
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte, plain or gzipped"):
        load_data(tmp_path)
