# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a worker's books to the scheduler's problem: joules of layers and of the radio, through the real message."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from builtin_interfaces.msg import Time
from edge_dnn_partition.msg import DeviceEnergy, FrameReport, HopTiming

from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.scheduling.background import Background
from edge_dnn_partition.control.scheduling.policy_runner import PolicyRunner
from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.control.state.fleet_estimator import FleetEstimator
from edge_dnn_partition.execution.stages.stage_energy import StageRun
from edge_dnn_partition.nodes.execution.energy import EnergyMonitor
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.reading import PowerReading
from edge_dnn_partition.testbed.emulation import EmulatedHardware

FLEET = parse_fleet({
    'fleet': 'f', 'source': 'pi', 'links': [{'between': ['pi', 'jetson'], 'rate': '8 Mbit/s', 'delay': '1 ms'}],
    'devices': {'pi': {'power': {'radio': '2 W'}, 'emulate': {'slowdown': 1}}, 'jetson': {}},
}, what='fleet')  # fmt: skip
PROFILE = Profile('m', 'pi', 'CPUExecutionProvider', 1, (0, 2, 4), (0.1, 0.1), (0.0,), 0.05)


class Node:
    """What `EnergyWatch` needs of a node; keeps what is published and who listens."""

    def __init__(self):
        self.topics = SimpleNamespace(device='pi', energy='/f/energy', frame_report='/f/frame_report')
        self.incarnation, self.published, self.heard, self.timers = 7, [], {}, []

    def advertise(self, *_, **__):
        return SimpleNamespace(publish=self.published.append)

    def subscribe(self, _, topic, callback, *__):
        self.heard[topic] = callback

    def every(self, _, callback):
        self.timers.append(callback)

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=Time))


def test_a_device_that_tells_no_watts_is_planned_for_latency_until_it_does():
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'jetson': {'power': {'active': '5 W'}}}, 'objective': 'energy'})
    fleet_estimator, said = FleetEstimator(SimpleNamespace(), fleet, heartbeat_timeout=1.0, input_bytes=1.0), []
    runner = PolicyRunner(
        fleet, 'a' * 64, SchedulerSettings(decide=Settings(Goal('energy'))), files=None, warn=lambda _, text: said.append(text),
        refuse=lambda *_: None, background=Background(),
    )  # fmt: skip

    def objective():
        runner.on_watts(fleet_estimator.without_watts(['pi', 'jetson']))
        return runner.objective

    assert (objective(), objective()) == ('latency', 'latency') and 'the watts of pi are not known' in runner.words
    fleet_estimator.on_energy(DeviceEnergy(device='pi', kind='modelled', active_watts=3.0))
    assert objective() == 'energy' and runner.words == ''
    assert len(said) == 2 and 'planned for latency' in said[0] and 'known now' in said[1], 'said once each'


def test_what_a_meter_taught_of_layers_reaches_the_problem():
    """2 W idle; the first segment takes 0.15 J a run, the second 0.4 J, in two stages of 0.1 s each."""
    node = Node()
    watch = EnergyMonitor(node, node.advertise(DeviceEnergy, ''), FLEET.devices['pi'], EmulatedHardware(FLEET, 'pi', None, runs_stages=True), FLEET)
    watch.profiled(PROFILE)
    begin, joules = time.monotonic() - 200.0, 0.0
    hop = HopTiming(sender='pi', receiver='jetson', from_stage=-1, size=50_000)  # 50 ms at the fleet file's rate: 0.1 J
    for tick in range(1, 401):
        now = begin + 0.25 * tick
        layers, taken = (((0, 2),), 0.15) if tick % 2 else (((2, 4),), 0.4)
        watch._energy.ran(StageRun(1, 0, tick, 0, (False, layers)), now - 0.1, now, 1.0)
        joules += 0.5 + taken
        if tick == 200:
            joules += 0.1
            watch._energy.moved(now - 0.2, now, 0.1)
        reading = PowerReading('meter', 'board', 2.0 + 4 * taken, joules, 0.25 * tick, 0.001, 0.001)
        watch._energy._metered and watch._energy._metered.idle.add(2.0, 0.0)
        watch._energy.take(now, HostSample(power=(reading,)))
    watch.on_report(FrameReport(hops=[hop], latency_seconds=0.2))  # is taken without a complaint
    watch.publish()
    message = node.published[-1]
    assert isinstance(message, DeviceEnergy)
    assert (message.kind, list(message.boundaries)) == ('measured', [0, 2, 4])
    assert list(message.node_joules[1:]) == pytest.approx([0.15, 0.4], rel=0.1)
    assert list(message.node_measured) == [False, True, True]
    assert message.radio_joules == pytest.approx(0.1)
    parts = message.idle_joules + message.radio_joules + message.other_joules + message.stages_joules
    assert parts == pytest.approx(message.total_joules)

    fleet_estimator = FleetEstimator(None, FLEET, heartbeat_timeout=1.0, input_bytes=1000.0)
    fleet_estimator.on_energy(message)
    problem = from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1000, 'devices': {'pi': {'active_watts': 9.0}, 'jetson': {'active_watts': 9.0}},
        'links': [], 'layers': [{'name': f'l{i}', 'inputs': [i - 1], 'output_bytes': 10, 'weight_bytes': 0,
                                 'seconds': {'pi': s, 'jetson': s}} for i, s in enumerate((0.05, 0.1, 0.1))],
    })  # fmt: skip
    told = fleet_estimator.under_power(problem, (0, 2, 4), DeratingSettings(), 0.0)
    assert told.node_joules[:, 0] == pytest.approx(list(message.node_joules))
    assert np.isnan(told.node_joules[:, 1]).all()  # the Jetson has said nothing: its watts count
    assert told.work_joules[0][:, 1] == pytest.approx([0.45, 0.9, 0.9])
    assert fleet_estimator.under_power(problem, (0, 3, 4), DeratingSettings(), 0.0).node_joules is None, 'joules of other segments'
