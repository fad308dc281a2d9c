# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The device monitor as a process: what it publishes, how often, and how it ends."""

import dataclasses
import math
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built: run make setup')

import psutil
from builtin_interfaces.msg import Time
from edge_dnn_partition.msg import Heartbeat, Telemetry
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Float32
from support import spin_until

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.nodes.conversions.conversions import telemetry_from_message, telemetry_to_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.sensing.host import HostMeter, HostSample
from edge_dnn_partition.sensing.power.reading import PowerReading
from edge_dnn_partition.sensing.sources.battery import BatteryReading
from edge_dnn_partition.sensing.sources.cpu import ClockReading, CpuReading
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.limits import LimitsReading, QuotaReading
from edge_dnn_partition.sensing.sources.memory import MemoryReading, PressureReading
from edge_dnn_partition.sensing.sources.network import Interface
from edge_dnn_partition.sensing.sources.process import ProcessReading
from edge_dnn_partition.sensing.sources.thermal import ThermalReading, ThrottlingReading


class Listener:
    """Takes telemetry and heartbeats of a fleet."""

    def __init__(self, context, fleet):
        self.node = Node('listener', context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.telemetry, self.heartbeats = [], []

        def take(messages):
            return lambda message: messages.append((time.monotonic(), message))

        self.node.create_subscription(Telemetry, f'/{fleet}/telemetry', take(self.telemetry), qos.TELEMETRY)
        self.node.create_subscription(
            Heartbeat, f'/{fleet}/heartbeat', take(self.heartbeats), qos.heartbeat_reader()
        )

    def wait(self, messages, count):
        spin_until(self.executor, lambda: len(messages) >= count, f'{count} messages')

    def set(self, node_name, name, value):
        client = self.node.create_client(SetParameters, f'{node_name}/set_parameters')
        spin_until(self.executor, client.service_is_ready, client.srv_name)
        request = SetParameters.Request(parameters=[RosParameter(name, value=value).to_parameter_msg()])
        future = client.call_async(request)
        spin_until(self.executor, future.done, f'answer of {client.srv_name}')
        return future.result().results[0]


@pytest.fixture
def listener(context):
    listener = Listener(context, 'watch')
    yield listener
    listener.executor.shutdown()
    listener.node.destroy_node()


def test_telemetry_and_heartbeat_of_two_devices(nodes, listener):
    pi = nodes.start_node('device_monitor', '/watch/pi', rate_hz=10)
    jetson = nodes.start_node('device_monitor', '/watch/jetson')
    foreign = nodes.start_node('device_monitor', '/watch2/pi')

    def of(messages, device):
        return [(at, message) for at, message in messages if message.device == device]

    def overlap():
        """Return when jetson's heartbeats came, since both are heard."""
        both = max(times[0] for times in (times_of('pi'), times_of('jetson')) if times)
        return [at for at in times_of('jetson') if at >= both]

    def times_of(device):
        return [at for at, _ in of(listener.heartbeats, device)]

    spin_until(
        listener.executor,
        lambda: (
            all(of(listener.telemetry, device) for device in ('pi', 'jetson'))
            and times_of('pi')
            and len(overlap()) >= 3
        ),
        'telemetry and heartbeats of both',
        alive=nodes.all,
    )
    message = of(listener.telemetry, 'pi')[-1][1]
    sample = telemetry_from_message(message)
    assert message.header.stamp.sec > 1_600_000_000
    assert sample.memory.total_bytes == psutil.virtual_memory().total
    assert len(sample.cpu.percent_per_core) == psutil.cpu_count()
    assert 0 <= sample.cpu.percent <= 100
    assert {interface.name for interface in sample.interfaces} == set(psutil.net_io_counters(pernic=True))

    heartbeat = of(listener.heartbeats, 'pi')[-1][1]
    assert heartbeat.node == 'device_monitor'
    assert heartbeat.incarnation == message.incarnation
    assert heartbeat.resident_bytes > 1e6
    assert math.isnan(heartbeat.speed_factor)
    incarnations = {message.incarnation for _, message in listener.heartbeats}
    assert len(incarnations) == 2  # the foreign fleet is not heard

    # 10 Hz were asked of one, the other has the default of 2 Hz
    first, _, third = overlap()[:3]
    assert sum(first <= at <= third for at in times_of('pi')) >= 6
    for process in (pi, jetson, foreign):
        process.assert_clean_end()
        assert 'Traceback' not in process.output


def test_the_rate_changes_while_it_runs(nodes, listener):
    monitor = nodes.start_node('device_monitor', '/watch/pi', rate_hz=0.1)
    monitor.wait_for('active')
    name = '/watch/pi/device_monitor'
    refused = listener.set(name, 'rate_hz', 51)
    assert not refused.successful
    assert refused.reason == 'rate_hz must be at most 50, not 51'
    assert listener.set(name, 'rate_hz', 50).successful
    listener.wait(listener.heartbeats, 10)  # at 0.1 Hz these would take longer than its patience
    monitor.assert_clean_end()


def test_a_power_meter_and_a_battery_on_topics(nodes, listener):
    monitor = nodes.start_node('device_monitor', '/watch/pi', rate_hz=10, power_topic='wall', battery_topic='battery')
    watts = listener.node.create_publisher(Float32, '/watch/pi/wall', 1)
    battery = listener.node.create_publisher(BatteryState, '/watch/pi/battery', 1)

    def measured():
        watts.publish(Float32(data=6.5))
        battery.publish(BatteryState(voltage=12.0, current=-2.0, percentage=0.5))  # the status is unknown
        last = listener.telemetry[-1][1] if listener.telemetry else Telemetry()
        sources = {state.source: state for state in last.power}
        return last if {'external wall', 'battery battery'} <= set(sources) and sources['external wall'].joules > 0 else None

    spin_until(listener.executor, measured, 'watts in the telemetry', alive=[monitor])
    message = listener.telemetry[-1][1]
    power = {state.source: state for state in message.power}
    assert (power['external wall'].watts, power['external wall'].in_total) == (6.5, True)
    assert (power['battery battery'].watts, power['battery battery'].in_total) == (24.0, False)
    assert (message.battery_percent, message.battery_discharge_watts) == (50.0, 24.0)
    monitor.assert_clean_end()
    assert 'Traceback' not in monitor.output


def test_there_and_back():
    sample = HostMeter().sample(0.0)
    message = telemetry_to_message(sample, device='pi', incarnation=7, stamp=Time(sec=1))
    back = telemetry_from_message(message)
    for part in ('cpu', 'memory', 'pressure', 'clock', 'thermal'):
        for name, value in vars(getattr(sample, part)).items():
            assert getattr(getattr(back, part), name) == pytest.approx(value, nan_ok=True), name
    assert [interface.name for interface in back.interfaces] == [i.name for i in sample.interfaces]
    assert (back.throttling, back.battery) == (sample.throttling, sample.battery)
    full = HostSample(
        CpuReading(1.0, (2.0, 3.0), 4.0), MemoryReading(5.0, 6.0, 7.0, 8.0), PressureReading(9.0, 10.0, 11.0),
        ClockReading(12.0, 13.0, 14.0), ThermalReading(15.0, 16.0), ThrottlingReading(('throttled',)),
        (Interface('eth0', 1.5, 2.5, 3.5, 4.5, -50.0),), (GpuReading('gpu', 17.0, 18.0, 19.0, 20.0, 21.0),),
        BatteryReading(22.0, 23.0), ProcessReading(24.0, resident_bytes=25.0),
        (PowerReading('rapl package', 'cpu', 26.0, 27.0, 28.0, 0.1, 0.2, 'measured', 'n'),
         PowerReading('battery', 'board', 29.0, 30.0, 31.0, 0.1, 0.2)),
        LimitsReading(quota=QuotaReading(0.5, 0.1, 0.4, 80.0)),
    )  # fmt: skip
    message = telemetry_to_message(full, device='pi', incarnation=2**63, stamp=Time(), left_out=['x: why'])
    back = telemetry_from_message(message)
    assert math.isnan(back.process.cpu_seconds), 'the message does not carry it'
    known = dataclasses.replace(full.process, cpu_seconds=0.0)  # NaN equals nothing
    assert dataclasses.replace(back, process=dataclasses.replace(back.process, cpu_seconds=0.0)) == dataclasses.replace(
        full, process=known)  # fmt: skip
    assert [state.in_total for state in message.power] == [False, True]
    assert message.left_out == ['x: why']


def test_lists_that_disagree_are_refused():
    message = Telemetry(device='pi', interfaces=['eth0', 'lo'], sent_bytes_per_second=[1.0])
    with pytest.raises(WireError, match="'pi': 2 interfaces with 1 sent_bytes_per_second, 0 received"):
        telemetry_from_message(message)
