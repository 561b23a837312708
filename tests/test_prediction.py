"""Paths as text: no byte of a name is lost."""

from hypothesis import given
from hypothesis import strategies as st

from digitscan.prediction import path_to_text, text_to_path


@given(st.binary(max_size=20))
def test_the_bytes_of_any_path_come_back_from_its_text(name):
    assert text_to_path(*path_to_text(name)) == name
