# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The fleet as shapes: where they stand, how thick, what colour, what they say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.monitoring.fleet_scene import (
    BOX,
    GONE,
    IDLE_LINK,
    USED_LINK,
    DeviceLook,
    LinkLook,
    link_width,
    load_colour,
    places,
    scene,
)
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan, Transfer


def device(name, load=0.3, *, alive=True, watts=math.nan):
    return DeviceLook(name, alive, load, watts, 'modelled' if watts == watts else '')


def link(a, b, rate=1e6, *, measured=True):
    return LinkLook(a, b, rate, 0.004, measured)


PLAN = Plan(
    3, 'sha', 'pi', 'pi', (StagePlan('pi', True, ((0, 7),)), StagePlan('cloud', False, ((7, 8), (9, 12)))),
    (Transfer('t', 0, 'pi', 'cloud'), Transfer('u', 1, 'cloud', 'pi', to_sink=True)), reason='faster',
)  # fmt: skip


def test_a_fleet():
    devices = [device('pi', 1.0, watts=2.71), device('cloud', math.nan), device('jetson', alive=False)]
    links = [link('pi', 'cloud', 1e6), link('cloud', 'pi', 5e5), link('pi', 'jetson', measured=False), link('pi', 'nobody')]
    found = scene(devices, links, PLAN)
    boxes = {box.name: box for box in found.boxes}
    assert list(boxes) == ['pi', 'cloud', 'jetson']
    assert boxes['jetson'].colour == GONE and boxes['pi'].colour[0] > boxes['pi'].colour[1]
    assert boxes['pi'].size[2] > boxes['cloud'].size[2] and boxes['pi'].centre[2] == boxes['pi'].size[2] / 2
    lines = {line.name: line for line in found.lines}
    assert set(lines) == {'cloud pi', 'jetson pi'}
    assert (lines['cloud pi'].colour, lines['jetson pi'].colour) == (USED_LINK, IDLE_LINK)
    assert lines['cloud pi'].width == link_width(5e5)
    words = [label.text for label in found.labels]
    assert 'pi\ndecode, layers 0–6\nCPU 100%, 2.7 W modelled' in words
    assert any(text.startswith('cloud\nlayer 7, layers 9–11') for text in words)
    assert any(text.startswith('jetson (gone)\nno layers') for text in words)
    assert 'plan 3: pi:pre-7 cloud:7-8,9-12\nfaster' in words
    assert '4 Mbit/s, 4.0 ms' in words and '8 Mbit/s (guess), 4.0 ms' in words


def test_nothing_is_known_yet():
    found = scene([device('pi', math.nan)], [], None)
    assert found.boxes[0].centre[:2] == (0.0, 0.0) and not found.lines
    assert [label.text for label in found.labels] == ['pi\nno layers']


@given(st.integers(2, 12))
def test_devices_stand_apart(count):
    where = list(places([f'd{i}' for i in range(count)]).values())
    assert min(math.dist(a, b) for i, a in enumerate(where) for b in where[:i]) > BOX


@given(st.floats(1, 1e12), st.floats(1, 1e12))
def test_a_faster_link_is_no_thinner(a, b):
    assert (link_width(a) <= link_width(b)) == (a <= b) or link_width(a) == link_width(b)


@pytest.mark.parametrize('rate', [0.0, -1.0, math.nan])
def test_a_link_of_no_rate_is_thin(rate):
    assert link_width(rate) == link_width(1.0)


@given(st.floats(-1, 3) | st.just(math.nan))
def test_colours_are_colours(load):
    assert all(0 <= part <= 1 for part in load_colour(load))
