"""Validate an untrusted `.h5`: where its data is stored, and how much there is.

Opening one with plain Keras has read other files (external HDF5 storage; CVE-2026-1669) and exhausted the
memory (a dataset that declares terabytes; CVE-2026-0897). What the network in it is built of,
`config_validation` checks.

Used by `h5_file` and `keras_zip` before Keras opens a file, and by `export` after one was written.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError
from digitscan.model.config_validation import parse_config, summarize_error
from digitscan.model.metadata import MAX_MODEL_BYTES

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 10_000
"""Limit on groups and datasets, and on the values of an attribute: reading more takes too long."""
MAX_GROUP_DEPTH = 24
"""Limit on groups within groups; Keras writes a few levels."""


def validate_h5(data: bytes) -> None:
    """Check all of an `.h5` that can be checked without Keras.

    Raises ModelError, whose message continues "FILE is refused: ". HDF5 is native code, and some damaged
    files make it crash or loop for ever: call this only in a process that may end that way.
    """
    with open_h5(data) as file:
        validate_structure(file, len(data))
        read_config(file)


@contextlib.contextmanager
def open_h5(data: bytes) -> Iterator[h5py.File]:
    """Open bytes as HDF5, read-only; any exception inside the block becomes a ModelError."""
    import h5py

    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"it has more than {MAX_MODEL_BYTES} bytes")
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ModelError("it is not an HDF5 file (.h5), nor a .keras file")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the HDF5 file is broken ({summarize_error(error)})") from error


def validate_structure(file: h5py.File, file_bytes: int) -> None:
    """Check that a file holds nothing but groups and plain datasets, whose data is in the file itself.

    `file_bytes` is the size of the file. Raises ModelError.
    """
    import h5py

    addresses: set[int] = set()
    weights_bytes = 0
    pending: list[tuple[h5py.Group, int]] = [(file, 0)]
    while pending:
        group, depth = pending.pop()
        _check_attributes(group, file_bytes)
        for name in group:
            # Soft and external links lead elsewhere; a second hard link can make a loop.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{name!r} is a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses:
                raise ModelError(f"{name!r} is another name of the same group or dataset")
            addresses.add(address)
            if len(addresses) > MAX_OBJECTS:
                raise ModelError(f"it has more than {MAX_OBJECTS} groups and datasets")
            if depth >= MAX_GROUP_DEPTH:
                raise ModelError(f"its groups are nested more than {MAX_GROUP_DEPTH} deep")
            if isinstance(item, h5py.Group):
                pending.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_attributes(item, file_bytes)
                weights_bytes += _check_dataset(item, name, file_bytes)
            else:
                raise ModelError(f"{name!r} is neither a group nor a dataset")
    if weights_bytes > MAX_MODEL_BYTES:
        raise ModelError(f"its weights have {weights_bytes} bytes, more than {MAX_MODEL_BYTES}")


def _check_dataset(dataset: h5py.Dataset, name: str, file_bytes: int) -> int:
    """Check that a dataset holds plain numbers that are all in the file; return their size in bytes."""
    import h5py

    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ModelError(f"the dataset {name!r} takes its values from another file")
    if properties.get_nfilters():  # a few compressed bytes can be gigabytes
        raise ModelError(f"the dataset {name!r} is compressed")
    if dataset.dtype.kind not in "fiub" or dataset.shape is None:
        raise ModelError(f"the dataset {name!r} holds no numbers")
    # In Python's integers, because the product of declared lengths may not fit into 64 bits.
    declared_bytes = int(dataset.dtype.itemsize)
    for length in dataset.shape:
        declared_bytes *= int(length)
    stored_bytes = min(int(dataset.id.get_storage_size()), file_bytes)
    if declared_bytes > stored_bytes:
        raise ModelError(f"the dataset {name!r} declares {declared_bytes} bytes and has {stored_bytes}")
    return declared_bytes


def _check_attributes(item: h5py.Group | h5py.Dataset, file_bytes: int) -> None:
    """Check that attributes are texts and numbers of no more bytes than the file has."""
    import h5py

    for name in item.attrs:
        attribute = h5py.h5a.open(item.id, name.encode("utf-8"))
        datatype = attribute.get_type()
        is_plain = isinstance(datatype, h5py.h5t.TypeStringID | h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
        value_count = attribute.get_space().get_simple_extent_npoints()
        if not is_plain or value_count > MAX_OBJECTS or value_count * datatype.get_size() > file_bytes:
            raise ModelError(f"the attribute {name!r} is of a kind that Keras does not write")
        item.attrs[name]  # reading it raises here, not in Keras, if the file is damaged at this place


def read_config(file: h5py.File) -> dict[str, Any]:
    """Return the configuration of the network in an `.h5`, checked and as Keras 3 understands it.

    Raises ModelError.
    """
    text = file.attrs.get("model_config")
    if text is None:
        raise ModelError("it holds no network (no model_config): save the whole model, not only its weights")
    return parse_config(text)
