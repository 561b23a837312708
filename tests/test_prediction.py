"""Paths as text: no byte of a name is lost."""

from hypothesis import given
from hypothesis import strategies as st

from digitscan.prediction import add_page, name_to_path, path_to_name, path_to_text, text_to_path


@given(st.binary(max_size=20))
def test_the_bytes_of_any_path_come_back_from_its_text(name):
    assert text_to_path(*path_to_text(name)) == name


NAMES = st.one_of(st.binary(max_size=20), st.from_regex(rb"(a|\\|\xff)*#*[0-9]*", fullmatch=True))


@given(NAMES)
def test_a_file_is_never_taken_for_a_page(path):
    name, is_utf8 = path_to_name(path)
    assert name_to_path(name, is_utf8) == (path, 0)


@given(NAMES, st.integers(1, 100_000))
def test_the_file_and_the_number_of_any_page_come_back_from_its_name(path, page):
    name, is_utf8 = path_to_name(path)
    assert name_to_path(add_page(name, page), is_utf8) == (path, page)


def test_only_a_number_behind_a_sharp_at_the_end_is_a_page():
    for name in ("#1.png", "a#1b", "a# 1"):
        assert path_to_name(name.encode()) == (name, True)
