"""Files of arrays are read as NumPy reads them; forged ones are one kind of error, and cost no memory."""

import contextlib
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from digitscan.training.npz_file import NpzError, NpzFile

MAX_READ_BYTES = 4 << 20


def save(compress=True, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def make_npz(content, method=zipfile.ZIP_DEFLATED):
    """An archive with one member, `a.npy`, of any content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.npy", content)
    return file.getvalue()


def make_npy(header, data=b""):
    """An array of version 1 whose header is a text of any kind."""
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


def read_all(data):
    file = NpzFile(io.BytesIO(data))
    return {name: file.read(name) for name in file.names}


@given(
    arrays_of.arrays(
        arrays_of.integer_dtypes() | arrays_of.floating_dtypes() | arrays_of.unicode_string_dtypes(max_len=3),
        arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    st.booleans(),
    st.booleans(),
)
def test_arrays_of_any_type_shape_and_order_are_read_as_they_were_saved(array, is_fortran_order, compress):
    saved = np.asarray(array, order="F" if is_fortran_order else "C")
    read = read_all(save(compress, a=saved))["a"]
    assert read.dtype == array.dtype and read.shape == array.shape
    assert read.tobytes() == array.tobytes()
    assert read.flags.c_contiguous


def test_the_names_and_the_unpacked_size_are_known_before_anything_is_read():
    file = NpzFile(io.BytesIO(save(x=np.zeros((100, 100)), y=np.zeros(3))))
    assert file.names == ("x", "y")
    assert 80_000 < file.unpacked_bytes < 81_000


HEADER = "{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize(
    "header",
    [
        HEADER.format(shape="(1000000000000, 28, 28)"),
        HEADER.format(shape="(1000000000000, 1000000000000)"),
        HEADER.format(shape="(4294967296, 4294967296, 0)"),
        HEADER.format(shape="(100000000000000000000,)"),
        HEADER.format(shape="(" + "9" * 4000 + ",)"),
        HEADER.format(shape="(-3,)"),
        HEADER.format(shape="(-1, -3)"),
        HEADER.format(shape="(True, 3)"),
        HEADER.format(shape="(((("),
        HEADER.format(shape="((3,)"),
        HEADER.format(shape="(" * 5000),
        HEADER.format(shape="'''"),
        HEADER.format(shape="open('trap', 'w')"),
        HEADER.format(shape="(1000000000000,)").replace("|u1", "|V0"),
        HEADER.format(shape="(3,)").replace("|u1", "|O"),
        HEADER.format(shape="(3,)").replace("|u1", "|no"),
        HEADER.format(shape="(3,)").replace("'|u1'", "[('a', '|u1', (1000000000000,))]"),
        "{",
        "",
        "\0" * 60_000,
    ],
)
def test_a_forged_header_is_an_error_and_allocates_nothing(header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_npz(make_npy(header.encode(), b"\1\2\3"))
    tracemalloc.start()
    try:
        with pytest.raises(NpzError):
            read_all(data)
        assert tracemalloc.get_traced_memory()[1] < MAX_READ_BYTES
    finally:
        tracemalloc.stop()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_another_compression_is_refused(method):
    with pytest.raises(NpzError, match="is compressed with another method than NumPy's"):
        read_all(make_npz(make_npy(HEADER.format(shape="(3,)").encode(), b"\1\2\3"), method))


def test_an_encrypted_archive_is_refused():
    data = bytearray(make_npz(make_npy(HEADER.format(shape="(3,)").encode(), b"\1\2\3")))
    directory = data.index(b"PK\1\2")
    data[6] |= 1  # the flag stands in the local header, and in the central directory
    data[directory + 8] |= 1
    with pytest.raises(NpzError, match=r"a\.npy is encrypted"):
        read_all(bytes(data))


def test_a_missing_array_is_an_error():
    with pytest.raises(NpzError, match="b"):
        NpzFile(io.BytesIO(save(a=np.zeros(3)))).read("b")


SOUND = save(a=np.arange(40, dtype=np.int64), b=np.asfortranarray(np.eye(5)), c=np.array(["x", "yz"]))


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_file_with_changed_bytes_is_read_or_refused(changes):
    data = bytearray(SOUND)
    for position, value in changes:
        data[position] = value
    with contextlib.suppress(NpzError):
        read_all(bytes(data))


@given(st.binary(max_size=100), st.binary(max_size=300))
def test_any_content_of_an_array_is_read_or_refused(header, data):
    for content in (header + data, make_npy(header, data)):
        with contextlib.suppress(NpzError):
            read_all(make_npz(content))
