# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Who is in a fleet: those that its file names, and those that join by a word of their own, and leave."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.control.state.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.state.membership import FORGET_SECONDS, MOST_DEVICES, Membership
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import parse_fleet

OPEN = {'source': 'pi', 'devices': {'pi': {'threads': 4}, '*': {'power': {'active': '5 W'}}}}
CLOSED = {'source': 'pi', 'devices': {'pi': {}, 'box': {}}}


def members(document=OPEN):
    return Membership(parse_fleet(document))


class Known:
    """A membership and the estimator that follows it."""

    def __init__(self):
        self.members = members()
        self.estimator = FleetEstimator(SimpleNamespace(sha256='m'), self.members.fleet, heartbeat_timeout=1.0, input_bytes=1)


def says(membership, device, now=0.0, *, incarnation=1, leaving=False, **entry):
    return membership.on_description(device, incarnation, json.dumps(entry), leaving=leaving, now=now)


def test_a_device_joins_by_what_its_monitor_says_and_leaves_by_it():
    fleet = members()
    assert says(fleet, 'jetson', threads=6, memory='1 GB')
    joined = fleet.fleet.devices['jetson']
    assert (joined.threads, joined.memory, joined.power.active) == (6, 1e9, 5.0)
    assert not says(fleet, 'jetson', threads=6, memory='1 GB')
    assert says(fleet, 'jetson', 1.0, leaving=True)
    assert fleet.tidy((), 1.0)
    assert list(fleet.fleet.devices) == ['pi']


def test_a_device_of_the_file_never_leaves_it_and_its_entry_there_counts_more():
    fleet = members()
    says(fleet, 'pi', threads=2, memory='2 GB')
    assert (fleet.fleet.devices['pi'].threads, fleet.fleet.devices['pi'].memory) == (4, 2e9)
    assert says(fleet, 'pi', leaving=True)
    assert not fleet.tidy((), 1000.0)
    assert 'pi' in fleet.fleet.devices


def test_a_worker_heard_before_its_monitor_joins_too_but_not_by_a_late_word():
    fleet = members()
    assert fleet.joins('jetson', 0.0, late=True)
    says(fleet, 'jetson', 1.0, leaving=True)
    fleet.tidy((), 1.0)
    assert not fleet.joins('jetson', 2.0, late=True)
    assert fleet.joins('jetson', 2.0)


def test_who_is_in_a_plan_stays_until_it_is_not():
    fleet = members()
    fleet.joins('jetson', 0.0)
    assert not fleet.tidy({'jetson'}, 2 * FORGET_SECONDS)
    assert fleet.tidy((), 2 * FORGET_SECONDS)


def test_who_is_silent_is_forgotten_and_joins_again():
    fleet = members()
    fleet.joins('jetson', 0.0)
    assert not fleet.tidy((), FORGET_SECONDS)
    assert fleet.tidy((), FORGET_SECONDS + 0.1)
    assert fleet.joins('jetson', FORGET_SECONDS + 1)


def test_the_leave_of_an_earlier_process_is_none_of_the_present_one():
    fleet = members()
    says(fleet, 'jetson', incarnation=1)
    says(fleet, 'jetson', incarnation=2)
    assert not says(fleet, 'jetson', incarnation=1, leaving=True)
    assert not fleet.tidy((), 1.0)


def test_a_fleet_without_anybody_takes_nobody_in_and_says_what_to_write():
    fleet = members(CLOSED)
    with pytest.raises(PlanError, match=r"'jetson' wants to join, but .* '\*' for anybody"):
        says(fleet, 'jetson')
    assert not fleet.joins('jetson', 0.0)
    assert not says(fleet, 'box')


def test_no_more_join_than_the_fleet_holds():
    fleet = members()
    for number in range(MOST_DEVICES - 1):
        fleet.joins(f'd{number}', 0.0)
    with pytest.raises(PlanError, match='does not join'):
        fleet.joins('one_more', 0.0)


@given(st.one_of(st.text(max_size=40), st.just('[' * 5000), st.just('1' * 9000), st.just('{"threads": -1}'), st.just('{"colour": 1}')))
def test_an_entry_that_is_none_is_refused_in_words_and_changes_nothing(entry):
    fleet = members()
    before = fleet.fleet
    try:
        fleet.on_description('jetson', 1, entry, leaving=False, now=0.0)
    except PlanError as error:
        assert 'jetson' in str(error)
        assert fleet.fleet is before


@given(st.lists(st.tuples(st.sampled_from('abc'), st.sampled_from(['join', 'sign', 'leave', 'wait', 'needed'])), max_size=40))
def test_in_any_order_the_estimator_knows_those_that_the_fleet_has(events):
    known, now = Known(), 0.0
    for device, event in events:
        match event:
            case 'join':
                says(known.members, device, now)
            case 'sign':
                known.members.joins(device, now, late=True)
            case 'leave':
                says(known.members, device, now, leaving=True)
            case 'wait':
                now += FORGET_SECONDS + 1
        known.members.tidy({device} if event == 'needed' else (), now)
        known.estimator.follow(known.members.fleet)
        assert list(known.estimator.view.devices) == list(known.members.fleet.devices)
        assert 'pi' in known.estimator.view.devices
