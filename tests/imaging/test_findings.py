"""Findings show the digit where it is, and lines, neighbours and specks as left out."""

import cv2
import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from digitscan.imaging.findings import Finding, find_ink
from digitscan.imaging.preprocess import list_candidates, preprocess
from tests.support.pictures import draw_five


def find(image):
    return find_ink(image, preprocess(image))


def shares(findings):
    """The share of each finding among the pixels."""
    return [(findings == finding).mean() for finding in Finding]


def test_a_digit_on_clean_paper_is_found_whole_and_nothing_is_left_out():
    image = 255 - draw_five(64)
    findings = find(image)
    assert findings.shape == (64, 64)
    assert ((findings == Finding.DIGIT) != (image < 128)).mean() < 0.02
    assert not (findings == Finding.LEFT_OUT).any()


def test_a_box_round_the_digit_is_left_out_and_the_digit_is_not():
    image = 255 - draw_five(200, scale=0.6)
    cv2.rectangle(image, (15, 15), (185, 185), 0, 3)
    findings = find(image)
    size = len(findings)
    middle = findings[size // 5 : -size // 5, size // 5 : -size // 5]
    assert (middle == Finding.DIGIT).sum() > 50
    assert not (middle == Finding.LEFT_OUT).any()
    border = np.concatenate((findings[:, : size // 7].ravel(), findings[:, -size // 7 :].ravel()))
    assert (border == Finding.LEFT_OUT).sum() > 50
    assert not (border == Finding.DIGIT).any()


def test_the_grain_of_blank_paper_is_no_ink():
    image = np.random.default_rng(0).normal(220, 2, (80, 60)).astype(np.uint8)
    assert preprocess(image).rejection == "blank"
    assert not find(image).any()


def test_ink_that_is_no_digit_is_left_out():
    image = np.full((60, 120), 255, np.uint8)
    image[10:50, 10:30] = image[10:50, 50:70] = image[10:50, 90:110] = 0
    result = preprocess(image)
    assert result.pixels is None
    paper, digit, left_out = shares(find_ink(image, result))
    assert digit == 0.0 and left_out > 0.2 and paper > 0.5


@hypothesis.given(
    arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]), array_shapes(min_dims=2, max_dims=2, max_side=90)
    )
)
@hypothesis.settings(max_examples=60)
def test_every_candidate_of_any_array_has_findings(image):
    result = preprocess(image)
    for candidate in list_candidates(result) or [result]:
        findings = find_ink(image, candidate)
        assert findings.ndim == 2 and findings.dtype == np.uint8
        assert set(np.unique(findings)) <= {*Finding}
