"""The pieces of broken strokes."""

from digitscan.imaging.components import Component
from digitscan.imaging.groups import group_broken_strokes


def make_component(label, left, top, width=10, height=10):
    return Component(label, left, top, width, height, width * height)


def test_components_close_to_each_other_are_one_group_and_chains_of_them_too():
    chain = [make_component(label, 20 + 11 * label, 20, height=30) for label in range(1, 4)]
    far = make_component(4, 90, 20, height=30)
    groups = group_broken_strokes([chain[0], chain[2], far, chain[1]], (100, 200))
    assert sorted(sorted(member.label for member in group.components) for group in groups) == [[1, 2, 3], [4]]
    assert max(groups, key=lambda group: group.extent.area).extent == Component(0, 31, 20, 32, 30, 900)


def test_a_component_at_the_image_edge_joins_another_only_where_their_boxes_meet():
    inside, apart, touching = (
        make_component(1, 12, 50, height=40),
        make_component(2, 0, 50),
        make_component(3, 0, 60, 12),
    )
    assert len(group_broken_strokes([inside, apart], (100, 100))) == 2
    assert len(group_broken_strokes([inside, touching], (100, 100))) == 1
