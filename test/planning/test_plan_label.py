# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Placements as people write them, and what is said of those that are none; ranges of layers."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan, parse_label, placement_of_words, ranges_of


def label(*stages):
    return Plan(1, 'm', 'pi', 'pi', tuple(StagePlan(*stage) for stage in stages), ()).label()


@pytest.mark.parametrize(('text', 'placement'), [
    ('pi:pre-5', (('pi', True, ((0, 5),)),)),
    ('pi:pre cloud:0-5', (('pi', True, ()), ('cloud', False, ((0, 5),)))),
    ('pi:pre-2 cloud:2-4 pi:4-5', (('pi', True, ((0, 2),)), ('cloud', False, ((2, 4),)), ('pi', False, ((4, 5),)))),
    ('pi:pre-1,2-3 cloud:1-2,3-5', (('pi', True, ((0, 1), (2, 3))), ('cloud', False, ((1, 2), (3, 5))))),
    ('pi:pre,2-5 cloud:0-2', (('pi', True, ((2, 5),)), ('cloud', False, ((0, 2),)))),
])  # fmt: skip
def test_labels_say_what_runs_where(text, placement):
    assert label(*placement) == text
    assert parse_label(text, 5) == placement


def test_end_stands_for_the_number_of_layers():
    assert parse_label('pi:pre-3  cloud:3-end', 31) == (('pi', True, ((0, 3),)), ('cloud', False, ((3, 31),)))
    assert parse_label('pi:pre-end', 31) == parse_label('pi:pre,0-31', 31) == (('pi', True, ((0, 31),)),)


@pytest.mark.parametrize(('text', 'alike'), [
    ('pi:pre-2,2-5', 'pi:pre-5'),
    ('pi:pre,0-1,1-5', 'pi:pre-5'),
    ('pi:pre,3-5,0-3', 'pi:pre-5'),
    ('pi:pre cloud:3-5,0-2,2-3', 'pi:pre cloud:0-5'),
    ('pi:pre,4-5,1-2,2-3 cloud:3-4,0-1', 'pi:pre,1-3,4-5 cloud:0-1,3-4'),
])  # fmt: skip
def test_ranges_are_put_in_order_and_joined_so_that_equal_stages_are_written_alike(text, alike):
    placement = parse_label(text, 5)
    assert placement == parse_label(alike, 5)
    assert label(*placement) == alike


@pytest.mark.parametrize(('text', 'words'), [
    ('', 'the first stage must begin with pre'),
    ('pi:0-5', 'the first stage must begin with pre'),
    ('pi', "'pi' is not DEVICE:RANGES"),
    ('pi:', "'pi:' is not DEVICE:RANGES"),
    (':pre-5', "':pre-5' is not DEVICE:RANGES"),
    ('pi:pre-3 cloud:pre-5', 'pre must come first, and once'),
    ('pi:pre,pre-5', 'pre must come first, and once'),
    ('pi:0-2,pre cloud:2-5', 'pre must come first, and once'),
    ('pi:pre-x', "'pre-x' is not START-STOP"),
    ('pi:pre-', "'pre-' is not START-STOP"),
    ('pi:pre- cloud:0-5', "'pre-' is not START-STOP"),
    ('pi:pre-3,2-5', 'each of the 5 layers must occur once'),
    ('pi:pre-3,4', "'4' is not START-STOP"),
    ('pi:pre-3 cloud:-3-5', "'-3-5' is not START-STOP"),
    ('pi:pre-6', "'pre-6' is not within 0-5"),
    ('pi:pre-3 cloud:3-3 pi:3-5', "'3-3' is not within 0-5"),
    ('pi:pre-3 cloud:5-3', "'5-3' is not within 0-5"),
    ('pi:pre-3 cloud:4-5', 'each of the 5 layers must occur once'),
    ('pi:pre-3 cloud:2-5', 'each of the 5 layers must occur once'),
])  # fmt: skip
def test_what_is_no_placement_is_refused_with_an_example(text, words):
    with pytest.raises(PlanError, match=words) as caught:
        parse_label(text, 5)
    assert "write for example 'pi:pre-3 cloud:3-5'" in str(caught.value)


@settings(max_examples=300, deadline=None, derandomize=True)
@example(['pi:', 'pre', ',', '3-5', ',', '0-2', ' ', 'ü:', '2-3'])
@example(['pi:', 'pre', ',', '0-2', ',', '2-5'])
@given(st.lists(st.sampled_from(['pi:', 'ü:', 'pre', 'pre-', '-', ',', ' ', 'end', '0-2', '2-3', '3-5', *'05:']), max_size=12))
def test_any_text_is_a_placement_or_refused(words):
    try:
        placement = parse_label(''.join(words), 5)
    except PlanError:
        return
    assert sorted(n for _, _, ranges in placement for start, stop in ranges for n in range(start, stop)) == [*range(5)]
    assert all(ranges == ranges_of(n for pair in ranges for n in range(*pair)) for _, _, ranges in placement)
    assert [preprocess for _, preprocess, _ in placement] == [i == 0 for i in range(len(placement))]
    assert parse_label(label(*placement), 5) == placement


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 12)))
def test_ranges_hold_the_indices_and_do_not_touch(indices):
    ranges = ranges_of(indices)
    assert [n for start, stop in ranges for n in range(start, stop)] == sorted(set(indices))
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:]))
    assert StagePlan('pi', False, ranges).layer_indices == tuple(sorted(set(indices)))


def test_people_may_give_a_devices_name_alone():
    assert placement_of_words('cloud', 5, ('pi', 'cloud')) == (('cloud', True, ((0, 5),)),)
    for text in ('tpu', 'pi:pre-2 tpu:2-end'):
        with pytest.raises(PlanError, match="no device is called 'tpu'; known are pi, cloud"):
            placement_of_words(text, 5, ('pi', 'cloud'))
