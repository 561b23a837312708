"""Connected components, their boxes, the gaps between them, and which of them an edge cuts."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitscan.imaging.components import (
    Component,
    compute_gap,
    compute_min_area,
    find_components,
    find_touched_edges,
    is_cut,
    merge_components,
    touches_edge,
)
from tests.support.pictures import draw_five

BOXES = st.builds(
    Component, st.just(0), *[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2, st.integers(1, 99)
)


def make_component(left, top, width, height, area=1):
    return Component(0, left, top, width, height, area)


def test_a_component_has_right_and_bottom():
    component = Component(label=1, left=3, top=4, width=10, height=20, area=50)
    assert (component.right, component.bottom) == (13, 24)


def test_components_have_the_label_the_box_and_the_area_of_their_pixels():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 3:10] = mask[10:18, 20:22] = 255
    labels, components = find_components(mask)
    assert [component[1:] for component in components] == [(3, 2, 7, 3, 21), (20, 10, 2, 8, 16)]
    for component in components:
        box = labels[component.top : component.bottom, component.left : component.right]
        assert (box == component.label).all()
    assert np.array_equal(labels > 0, mask > 0)


def test_pixels_that_touch_at_a_corner_are_one_component():
    assert len(find_components(np.eye(9, dtype=np.uint8))[1]) == 1


def test_paper_has_no_components():
    assert find_components(np.zeros((5, 5), np.uint8))[1] == []


@pytest.mark.parametrize("shape", [(28, 28), (20, 8)])
def test_in_a_small_image_two_pixels_are_no_speck(shape):
    assert compute_min_area(shape) == 2


def test_the_length_of_a_strip_does_not_make_specks_of_its_digits():
    assert compute_min_area((100, 1000)) == compute_min_area((1000, 100)) == compute_min_area((100, 150))


@given(st.lists(BOXES, min_size=1, max_size=5))
def test_merged_components_have_the_area_of_all_and_a_box_around_them(components):
    merged = merge_components(components)
    assert merged.area == sum(component.area for component in components)
    for component in components:
        assert merged.left <= component.left and merged.top <= component.top
        assert merged.right >= component.right and merged.bottom >= component.bottom


@given(BOXES, BOXES)
def test_the_gap_is_the_same_from_either_side_and_0_where_boxes_meet(first, second):
    is_apart_across = first.right <= second.left or second.right <= first.left
    is_apart_down = first.bottom <= second.top or second.bottom <= first.top
    gap = compute_gap(first, second)
    assert gap == compute_gap(second, first) >= 0
    if not is_apart_across and not is_apart_down:
        assert gap == 0


def test_the_gap_is_the_paper_between_two_boxes():
    assert compute_gap(make_component(0, 0, 10, 10), make_component(14, 3, 5, 5)) == 4
    assert compute_gap(make_component(0, 0, 10, 10), make_component(2, 17, 5, 5)) == 7
    assert compute_gap(make_component(0, 0, 10, 10), make_component(14, 17, 5, 5)) == 7


@pytest.mark.parametrize(
    ("component", "edge_count"),
    [
        (make_component(5, 5, 10, 10), 0),
        (make_component(0, 5, 10, 10), 1),
        (make_component(0, 0, 10, 10), 2),
        (make_component(20, 0, 10, 40), 3),
        (make_component(0, 0, 30, 40), 4),
    ],
)
def test_the_edges_that_a_component_touches(component, edge_count):
    assert len(find_touched_edges(component, (40, 30))) == edge_count
    assert touches_edge(component, (40, 30)) == (edge_count > 0)


def find_only_component(image):
    labels, (component,) = find_components((image > 127).astype(np.uint8))
    return component, labels


@pytest.mark.parametrize("turns", range(4), ids=["right", "top", "left", "bottom"])
def test_a_stroke_that_ends_flat_at_an_edge_is_cut_and_one_with_a_round_end_is_whole(turns):
    cut, whole = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    cv2.line(cut, (15, 15), (70, 35), 255, 7)
    cv2.line(whole, (15, 15), (56, 35), 255, 7)
    whole = whole[:, : cv2.boundingRect(whole)[0] + cv2.boundingRect(whole)[2]]
    assert is_cut(*find_only_component(np.rot90(cut, turns)))
    assert not is_cut(*find_only_component(np.rot90(whole, turns)))


@pytest.mark.parametrize("turns", range(4), ids=["bottom", "right", "top", "left"])
def test_a_bar_along_an_edge_is_whole(turns):
    page = np.zeros((60, 60), np.uint8)
    page[52:, 20:45] = page[20:, 40:45] = 255
    assert not is_cut(*find_only_component(np.rot90(page, turns)))


def test_a_component_that_touches_no_edge_is_whole():
    assert not is_cut(*find_only_component(draw_five()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (2, 40)])
def test_components_of_the_smallest_images_are_measured(shape):
    component, labels = find_only_component(np.full(shape, 255, np.uint8))
    assert (component.height, component.width) == shape
    assert is_cut(component, labels) in (True, False)
