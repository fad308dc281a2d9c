# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device has links to few others where the fleet is large, and the fleet's links do not grow with its square."""

from collections import Counter

import pytest

from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragment_sender import FragmentSender
from edge_dnn_partition.transport.neighbours import FEW, neighbours


def _fleet(devices, links=()):
    names = [f'd{number}' for number in range(devices)]
    return parse_fleet({
        'fleet': 'f', 'source': 'd0', 'sink': 'd1', 'devices': {name: {} for name in names},
        'links': [{'between': list(pair), 'rate': '80 Mbit/s'} for pair in links],
    }, what='fleet')  # fmt: skip


def test_in_a_small_fleet_all_devices_are_neighbours():
    fleet = _fleet(FEW + 1)
    for device in fleet.devices:
        assert set(neighbours(fleet, device)) == fleet.devices.keys() - {device}


@pytest.mark.parametrize('devices', [30, 100, 256])
def test_in_a_large_fleet_no_device_but_source_and_sink_has_many_links(devices):
    fleet = _fleet(devices)
    from_there = Counter({device: len(neighbours(fleet, device)) for device in fleet.devices})
    to_there = Counter(other for device in fleet.devices for other in neighbours(fleet, device))
    assert max(from_there.values()) <= FEW + 2
    assert max(count for device, count in to_there.items() if device not in ('d0', 'd1')) <= FEW + 2
    assert to_there['d0'] == devices - 1


def test_links_that_the_file_names_are_measured_whatever_their_number():
    fleet = _fleet(40, [('d20', f'd{number}') for number in range(20)])
    assert set(neighbours(fleet, 'd20')) >= {f'd{number}' for number in range(20)}
    assert 'd20' in neighbours(fleet, 'd5')


def test_a_device_that_the_file_does_not_name_has_neighbours_too():
    fleet = parse_fleet({'fleet': 'f', 'source': 'pi', 'devices': {'pi': {}, '*': {}}}, what='fleet')
    assert neighbours(fleet, 'jetson') == ('pi',)


def test_a_sender_knows_the_links_that_it_has_targets_on():
    sender = FragmentSender(_fleet(100, [('d0', 'd70')]), 'd0', 1)
    assert dict(sender.states(0.0)) == {}
    sender.connect(('d70', False))
    sender.connect(('d71', False))
    assert list(sender.states(0.0)) == ['d70', 'd71']
    sender.on_exploration({'d72': (1.0, 1e6)}, 0.0)
    assert 'd72' not in sender.links
