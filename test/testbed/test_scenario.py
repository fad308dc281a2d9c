# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's devices are as slow on a fast machine as on the one that its links were chosen for."""

import pytest

from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.testbed.scenario import MACHINE_SECONDS, PHASES, SLOWDOWNS, fleet_document, handicap


@pytest.mark.parametrize('whole_seconds', [MACHINE_SECONDS / 3, MACHINE_SECONDS])
def test_the_network_takes_as_long_on_a_device_whatever_this_machine_takes(whole_seconds):
    fleet = parse_fleet(fleet_document('model.onnx', 'preprocessing.yaml', handicap=handicap(whole_seconds)))
    for name, slowdown in SLOWDOWNS.items():
        assert fleet.devices[name].emulate.slowdown * whole_seconds == pytest.approx(slowdown * MACHINE_SECONDS)


def test_no_device_is_faster_than_this_machine():
    assert handicap(3 * MACHINE_SECONDS) == 1.0


def test_a_phase_says_by_how_much_devices_are_slower_than_usual():
    busy = next(phase for phase in PHASES if phase.slowdowns)
    assert busy.factors() == {'pi': 1.0, 'jetson': 3.0, 'cloud': 1.0}
