# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What plays a fleet file's devices and links: which hardware a node gets, and the profile of a played device."""

import subprocess
import sys

import pytest

from edge_dnn_partition.deployment.hardware import hardware_of
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed.emulation import EmulatedHardware, played_profile

DEVICES = {'pi': {'emulate': {'slowdown': 3}}, 'jetson': {}, 'cloud': {}}
LINKS = [
    {'between': ['pi', 'jetson'], 'rate': '1 MB/s', 'delay': '2 ms', 'channel': 'wifi', 'emulate': True},
    {'between': ['pi', 'cloud'], 'rate': '1 MB/s', 'delay': '20 ms', 'emulate': 'delay'},
    {'between': ['jetson', 'cloud'], 'rate': '1 MB/s'},
]


class Layers:
    """A model of three layers."""

    layers = (None,) * 3


def hardware(devices=DEVICES, links=LINKS, device='pi', **keys):
    fleet = parse_fleet({'source': 'pi', 'devices': devices, 'links': links, **keys})
    return hardware_of(fleet, device, Layers(), runs_stages=True)


def profile(seconds=(0.1, 0.1)):
    return Profile('m', 'host', 'CPUExecutionProvider', 1, (0, 2, 3), seconds, (0.001,), 0.004, probe_seconds=0.002)


def test_real_devices_run_on_the_machine_itself():
    real = hardware({'pi': {}, 'jetson': {}}, [{'between': ['pi', 'jetson'], 'rate': '1 MB/s'}])
    assert type(real) is Hardware
    assert (real.real, real.has_meters, real.shaper('jetson'), real.delay('jetson')) == (True, True, None, 0.0)
    assert real.profile(found := profile()) is found and real.probe_seconds(1.0, 2.0) == 2.0


def test_nodes_load_nothing_of_the_testbed(tmp_path):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    nodes = ', '.join(f'edge_dnn_partition.nodes.{name}' for name in ('device_monitor', 'worker', 'frame_source', 'scheduler'))
    check = f"import sys, {nodes}; sys.exit(' '.join(name for name in sys.modules if '.testbed' in name) or 0)"
    found = subprocess.run([sys.executable, '-c', check], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, '')


def test_a_device_is_slowed_and_its_links_are_held_back():
    pi = hardware()
    assert isinstance(pi, EmulatedHardware) and not pi.real and not pi.has_meters
    assert pi.profile(profile()) == profile().scaled(3) and pi.probe_seconds(1.0, 2.0) == 3.0
    assert pi.shaper('jetson').bytes_per_second == 1e6 and pi.delay('jetson') == 0.002
    assert pi.shaper('cloud') is None and pi.delay('cloud') == 0.02
    jetson = hardware(device='jetson')
    assert jetson.has_meters and jetson.shaper('pi') is not None and jetson.shaper('cloud') is None and jetson.delay('cloud') == 0.0


def test_a_played_boards_profile_does_not_depend_on_the_machine():
    """Its layers take what the figures say, whatever this machine takes; images and the rest follow this machine."""
    pytest.importorskip('torch', reason='the zoo is built with torch')
    from edge_dnn_partition.graph import zoo
    from edge_dnn_partition.graph.model import load_model

    model = load_model(zoo.model_path('mobilenetv2'))
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {'emulate': {'board': 'raspberry_pi_4'}}}})
    pi, ends = fleet.devices['pi'], (0, 20, len(model.layers))
    found = [
        played_profile(pi, Profile('m', 'host', 'CPUExecutionProvider', 1, ends, (took, took), (0.001,), 0.004, probe_seconds=took), model)
        for took in (0.002, 0.2)
    ]
    assert found[0].segment_seconds == found[1].segment_seconds
    assert found[0].total_seconds == pytest.approx(sum(pi.emulate.layer_seconds(model)))
    assert found[0].preprocess_seconds == pytest.approx(0.004 * 5)
    assert found[0].probe_seconds == 0.002
