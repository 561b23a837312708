"""A model that says nothing of its own is tried in each input range, and a much better one is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from digitscan.errors import ModelError
from digitscan.model.input_comparison import InputComparison, compare_input_ranges, compute_interval
from digitscan.model.input_range import InputRange
from digitscan.model.known_images import load_known_digits
from digitscan.model.registry import load_model
from tests.support.command import environment, run
from tests.support.foreign_models import build_reader
from tests.support.pictures import digit_picture

counts = st.integers(0, 500)


def compare(right: int, other: int, total: int = 500) -> InputComparison:
    """A comparison in which 0..255 reads another number of digits right than the other ranges."""
    return InputComparison(dict.fromkeys(InputRange, right) | {InputRange.BYTE: other}, total)


@pytest.mark.parametrize(
    ("right", "other", "total", "is_better"),
    [
        (330, 485, 500, True),
        (470, 495, 500, True),  # exactly 5 points, of which 3.0 are sure
        (471, 495, 500, False),  # one less
        (20, 250, 500, True),
        (20, 249, 500, False),  # no reader of digits in any range
        (250, 281, 500, False),  # 6.2 points, but the intervals overlap
        (250, 293, 500, False),
        (250, 294, 500, True),  # 8.8 points: the intervals are apart
        (10, 14, 20, False),
        (500, 500, 500, False),
    ],
)
def test_a_range_is_recommended_if_it_reads_surely_and_noticeably_more_and_well(
    right: int, other: int, total: int, is_better: bool
) -> None:
    comparison = compare(right, other, total)
    assert comparison.find_better(InputRange.ONE) == (InputRange.BYTE if is_better else None)
    assert comparison.find_better(InputRange.BYTE) is None


@given(st.tuples(counts, counts, counts, counts))
def test_a_recommended_range_has_no_better_one(right: tuple[int, int, int, int]) -> None:
    comparison = InputComparison(dict(zip(InputRange, right, strict=True)), 500)
    for input_range in InputRange:
        better = comparison.find_better(input_range)
        if better is not None:
            assert comparison.right[better] == max(right)
            assert comparison.find_better(better) is None
    assert InputComparison.from_stored(comparison.to_stored()) == comparison


@given(st.integers(1, 1000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_is_that_of_scipy(share: tuple[int, int]) -> None:
    expected = binomtest(*share).proportion_ci(method="wilson")
    assert np.allclose(compute_interval(*share), (expected.low, expected.high), atol=1e-4)


def test_the_line_says_both_shares_and_the_setting() -> None:
    comparison = compare(334, 489)
    assert comparison.describe(InputRange.ONE) == (
        "66 % of known digits right; 97 % with --input-range 0..255"
    )
    assert compare(60, 78).describe(InputRange.ONE) == (
        "12 % of known digits right; with no --input-range more than 15 %"
    )


@pytest.mark.parametrize(("right", "is_poor"), [(399, True), (400, False)])
def test_below_80_percent_a_model_is_warned_of(right: int, is_poor: bool) -> None:
    assert compare(right, 500).is_poor(InputRange.ONE) == is_poor


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {},
        {"right": {}, "total": 500},
        {"right": dict.fromkeys(InputRange, 501), "total": 500},
        {"right": dict.fromkeys(InputRange, -1), "total": 500},
        {"right": dict.fromkeys(InputRange, 0), "total": 0},
        {"right": dict.fromkeys(InputRange, 0.5), "total": 1},
        {"right": dict.fromkeys(InputRange, 0), "total": "many"},
    ],
)
def test_a_stored_comparison_that_is_none_is_refused(stored: object) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        InputComparison.from_stored(stored)


@pytest.mark.parametrize("input_range", InputRange)
def test_the_range_that_a_network_was_made_for_reads_most(input_range: InputRange) -> None:
    comparison = compare_input_ranges(build_reader(input_range), *load_known_digits())
    assert comparison.share_right(input_range) > 0.9
    assert max(comparison.right, key=comparison.right.__getitem__) == input_range


def test_digits_for_which_a_network_gives_no_number_are_not_right() -> None:
    network: Any = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])
    network.set_weights([np.full((784, 10), np.nan), np.zeros(10)])
    images, _ = load_known_digits()
    comparison = compare_input_ranges(network, images, np.zeros(len(images), np.uint8))
    assert set(comparison.right.values()) == {0}


def test_the_line_comes_at_each_use_and_only_without_the_right_setting(
    tmp_path: Path, compiled_paths: list[Path]
) -> None:
    path = tmp_path / "theirs.h5"
    build_reader(InputRange.INVERTED_BYTE).save(path)
    messages: list[str] = []
    for _ in range(2):
        load_model(path, log=messages.append)
        assert messages.pop().endswith(" % with --input-range 255..0")
    assert compiled_paths == [path]
    load_model(path, input_range="255..0", log=messages.append)
    assert not any("known digits" in message for message in messages)


def test_a_model_whose_comparison_an_older_version_did_not_store_is_tried_again(
    tmp_path: Path, compiled_paths: list[Path], cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs.h5"
    build_reader(InputRange.BYTE).save(path)
    with monkeypatch.context() as patch:
        patch.setattr(InputComparison, "__bool__", lambda self: False, raising=False)
        load_model(path)
    assert load_model(path).input_comparison is not None
    assert compiled_paths == [path, path]


def test_where_nothing_can_be_stored_the_line_comes_all_the_same(
    tmp_path: Path, compiled_paths: list[Path], cache_folder: Path
) -> None:
    cache_folder.parent.write_text("a file in the place of the folder")
    path = tmp_path / "theirs.h5"
    build_reader(InputRange.BYTE).save(path)
    messages: list[str] = []
    load_model(path, log=messages.append)
    assert messages[-1].endswith(" % with --input-range 0..255")


def test_a_scan_with_a_model_for_0_to_255_says_so(tmp_path: Path) -> None:
    path = tmp_path / "theirs.h5"
    build_reader(InputRange.BYTE).save(path)
    digit_picture().save(tmp_path / "a.png")
    variables = environment(XDG_CACHE_HOME=str(tmp_path / "cache"))
    result = run("scan", "a.png", "--model", path, "-o", "rows.csv", cwd=tmp_path, env=variables)
    words = " ".join(result.stderr.decode().split())
    assert re.search(r": \d+ % of known digits right; \d+ % with --input-range 0\.\.255 ", words)
    assert "careful the model reads poorly: " in words
