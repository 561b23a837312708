"""The directories of a TIFF that are pages are found, and no others, whatever the file holds."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.imaging.tiff_file import find_pages, select_directory
from tests.support.pictures import encode_pages, make_pages, make_tiff

WIDTH, SUBFILE_TYPE, OLD_SUBFILE_TYPE = 256, 254, 255


def long(value):
    return (4, struct.pack("<I", value))


def short(value):
    return (3, struct.pack("<H", value))


def widths(data):
    """The widths of the pages, each read from the TIFF that has its directory as the first."""
    file = io.BytesIO(data)
    found = []
    for offset in find_pages(file):
        selected = select_directory(file, offset)
        (start,) = struct.unpack("<I", selected.read(8)[4:])
        selected.seek(start + 2)
        entries = {tag: value for tag, _, _, value in struct.iter_unpack("<HHII", selected.read(24))}
        found.append(entries.get(WIDTH))
    return found


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
def test_each_directory_of_a_tiff_that_pillow_writes_is_a_page(options):
    assert len(find_pages(io.BytesIO(encode_pages(make_pages(5), "TIFF", **options)))) == 5


@pytest.mark.parametrize(
    "mark",
    [
        (SUBFILE_TYPE, long(1)),
        (SUBFILE_TYPE, short(1)),
        (SUBFILE_TYPE, long(4)),
        (OLD_SUBFILE_TYPE, short(2)),
    ],
    ids=["reduced", "reduced as a short", "mask", "reduced in the old tag"],
)
def test_reduced_copies_and_masks_are_no_pages(mark):
    copy = dict([mark, (WIDTH, long(9))])
    page = {SUBFILE_TYPE: long(2), WIDTH: long(50)}
    assert widths(make_tiff([copy, page, copy, {**page, WIDTH: long(60)}, copy])) == [50, 60]


def test_a_tiff_of_nothing_but_reduced_copies_has_one_page():
    copy = {SUBFILE_TYPE: long(1), WIDTH: long(9)}
    assert widths(make_tiff([copy, {**copy, WIDTH: long(8)}])) == [9]


def test_a_chain_that_leads_back_to_its_beginning_ends():
    page = {SUBFILE_TYPE: long(0), WIDTH: long(50)}
    assert widths(make_tiff([page, {**page, WIDTH: long(60)}], loops=True)) == [50, 60]


def test_a_directory_that_is_cut_off_is_a_page_so_that_its_loss_is_seen():
    page = {SUBFILE_TYPE: long(0), WIDTH: long(50)}
    data = make_tiff([page, page, page])
    assert len(find_pages(io.BytesIO(data[:-10]))) == 3


@given(st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]), st.binary(max_size=80))
def test_any_bytes_behind_the_header_have_some_pages_that_can_be_selected(head, rest):
    file = io.BytesIO(head + rest)
    for offset in find_pages(file):
        selected = select_directory(file, offset)
        assert len(selected.read()) == len(head + rest)
