# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Topic names from namespaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.nodes.core.topics import Topics, check_name

NAMES = st.from_regex(r'[A-Za-z][A-Za-z0-9_]{0,20}', fullmatch=True)


@pytest.mark.parametrize(
    ('namespace', 'fleet', 'device'),
    [('/demo/pi', 'demo', 'pi'), ('/lab/demo/pi', 'lab/demo', 'pi'), ('demo/pi/', 'demo', 'pi')],
)
def test_a_device_node_knows_fleet_and_device(namespace, fleet, device):
    assert Topics.of_device(namespace) == Topics(fleet, device)


def test_names_are_absolute():
    topics = Topics.of_device('/lab/demo/pi')
    assert topics.plan == '/lab/demo/plan'
    assert topics.plan_state == '/lab/demo/plan_state'
    assert topics.tensors() == '/lab/demo/pi/tensors'
    assert topics.tensors('jetson') == '/lab/demo/jetson/tensors'
    assert topics.results('jetson') == '/lab/demo/jetson/results'
    assert topics.acks() == '/lab/demo/pi/receipts'


def test_all_nodes_of_a_fleet_agree_on_its_topics_and_fleets_do_not_meet():
    names = [name for name in vars(Topics) if isinstance(vars(Topics)[name], property)]
    assert len(names) >= 10
    monitor, scheduler = Topics.of_device('/demo/pi'), Topics.of_fleet('/demo')
    assert [getattr(monitor, name) for name in names] == [getattr(scheduler, name) for name in names]
    everything = {getattr(monitor, name) for name in names} | {monitor.tensors(), monitor.results()}
    other = Topics.of_device('/demo2/pi')
    assert len(everything) == len(names) + 2
    assert not everything & {getattr(other, name) for name in names}


@given(fleet=NAMES, device=NAMES)
def test_namespace_there_and_back(fleet, device):
    assert Topics.of_device(f'/{fleet}/{device}') == Topics(fleet, device)
    assert Topics.of_fleet(f'/{fleet}').tensors(device) == Topics(fleet, device).tensors()


@pytest.mark.parametrize('namespace', ['', '/', '/demo', 'demo/'])
def test_a_device_node_needs_fleet_and_device(namespace):
    with pytest.raises(UserError, match='__ns:=/<fleet>/<device>'):
        Topics.of_device(namespace)


def test_a_fleet_node_needs_a_fleet():
    with pytest.raises(UserError, match='__ns:=/<fleet>'):
        Topics.of_fleet('/')


@pytest.mark.parametrize('name', ['jetson-1', '1pi', '_pi', '', 'a/b', 'pi ', 'pi\n', 'gerät'])
def test_names_that_ros_does_not_take_are_refused(name):
    with pytest.raises(UserError, match='is not a ROS name'):
        check_name(name)
    with pytest.raises(UserError):
        Topics('demo').tensors(name)


def test_a_node_of_the_fleet_has_no_inbox():
    with pytest.raises(UserError, match='device'):
        Topics.of_fleet('/demo').tensors()
