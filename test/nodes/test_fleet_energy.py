# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Energy in a fleet of real processes: on results, in the totals, named for what it is, unknown where it is."""

import math

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

POWER = {'pi': {'idle': '2 W', 'active': '4 W', 'radio': '1 W'}, 'jetson': {'idle': '3 W', 'active': '10 W'}}  # the cloud gives none


@pytest.fixture(scope='module')
def trial(ros_domain, tmp_path_factory):
    """A fleet that says its watts and hears of batteries; all its frames are looked at in the end."""
    from trial_fleet import check_frames, trial_fleet

    folder = tmp_path_factory.mktemp('energy')
    parameters = {'device_monitor': {'battery_topic': 'battery'}, 'scheduler': {'most_slowdown': 100.0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        with trial_fleet(folder, parameters=parameters, power=POWER, slowdown=2.0) as trial:
            yield trial
            trial.settle()
    check_frames(trial, folder)


def test_results_and_totals_carry_joules_with_their_source(trial):
    from edge_dnn_partition.msg import DeviceEnergy, Heartbeat, Result

    from edge_dnn_partition.nodes.core import qos

    half = len(trial.model.layers) // 2
    node, wait = trial.client.node, trial.client.wait_for
    results, books, beats = [], [], {}
    node.create_subscription(Result, '/trial/result', results.append, qos.RESULT)
    node.create_subscription(DeviceEnergy, '/trial/energy', books.append, qos.TELEMETRY)
    node.create_subscription(Heartbeat, '/trial/heartbeat', lambda m: beats.update({(m.device, m.node): m}),
                             qos.heartbeat_reader())  # fmt: skip
    trial.follow(f'pi:pre-{half} jetson:{half}-end')
    version = trial.client.plan.version
    trial.more_frames(10, version=version)
    wait(lambda: sum(r.plan_version == version for r in results) >= 5, 20.0, 'results of the plan')
    for result in [r for r in results if r.plan_version == version]:
        for stage in result.stages:
            watts = {'pi': 4.0, 'jetson': 10.0}[stage.device]
            assert stage.joules == pytest.approx(watts * (stage.decode_seconds + stage.run_seconds), rel=1e-3, abs=1e-6)
            assert not stage.energy_measured
            assert math.isnan(stage.deviation_joules)  # a fleet file gives none
        assert result.energy_joules == pytest.approx(math.fsum(s.joules for s in result.stages))
        assert not result.energy_measured
        radio = {(hop.sender, hop.receiver): (hop, j) for hop, j in zip(result.hops, result.hop_radio_joules, strict=True)}
        assert set(radio) == {('pi', 'pi'), ('pi', 'jetson'), ('jetson', 'pi')}
        for (sender, receiver), (hop, joules) in radio.items():  # of the Pi alone: the Jetson's radio is not given
            assert joules == 0 if sender == receiver else 0 < joules < 2.0 * result.latency_seconds
            if hop.spread_bytes and sender != receiver:
                assert joules == pytest.approx(1.0 * hop.size * hop.spread_seconds / hop.spread_bytes)
        assert result.radio_joules == pytest.approx(math.fsum(result.hop_radio_joules))

    def last(device):
        return next((b for b in reversed(books) if b.device == device), None)

    def settled(device):
        return last(device) is not None and any(t.plan_version == version for t in last(device).totals)

    wait(lambda: settled('pi') and settled('jetson') and last('cloud') is not None, 30.0, 'settled totals')
    for device, (idle, active) in {'pi': (2.0, 4.0), 'jetson': (3.0, 10.0)}.items():
        found = last(device)
        assert (found.kind, found.source) == ('modelled', 'the fleet file')
        assert found.active_watts == active
        assert found.idle_joules == pytest.approx(idle * found.covered_seconds)
        assert (found.radio_joules > 0) == (device == 'pi')
        assert list(found.node_joules) == []  # no meter
        assert found.total_joules == pytest.approx(
            found.idle_joules + found.radio_joules + found.other_joules + found.stages_joules)
    runs = [(b.device, s) for b in books for s in b.settled if s.plan_version == version]
    assert {device for device, _ in runs} == {'pi', 'jetson'}
    given = {(r.frame_number, s.device): s.joules for r in results for s in r.stages if r.plan_version == version}
    both = [(given[run.frame_number, device], run.joules) for device, run in runs if (run.frame_number, device) in given]
    assert both
    assert all(now == pytest.approx(later, rel=1e-3, abs=1e-6) for now, later in both)
    assert math.isnan(last('cloud').total_joules)
    assert last('cloud').kind == ''
    wait(lambda: ('pi', 'worker') in beats and beats['pi', 'worker'].process_cpu_percent > 0, 20.0, "the worker's CPU")
    assert beats['pi', 'worker'].resident_bytes > 0


def test_a_device_with_a_low_battery_is_spared_with_a_reason_and_works_again_when_it_is_charged(trial):
    from sensor_msgs.msg import BatteryState

    from edge_dnn_partition.nodes.core import qos

    trial.client.set_scheduler({'policy': 'auto', 'fixed_plan': ''})
    node, wait = trial.client.node, trial.client.wait_for
    victim = trial.client.plan.devices[0]
    low = BatteryState(percentage=0.1, voltage=12.0, current=-1.0,
                       power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING)  # fmt: skip
    publisher = node.create_publisher(BatteryState, f'/trial/{victim}/battery', qos.SENSOR)
    timer = node.create_timer(0.2, lambda: publisher.publish(low))
    wait(lambda: victim not in trial.client.plan.devices, 30.0, f'a plan that spares {victim}')
    assert f'{victim} is spared: its battery is at 10 %' in trial.client.plan.reason
    trial.more_frames(version=trial.client.plan.version)

    def derating():
        return {device.device: device.derating for device in trial.news.state.devices}[victim]

    wait(lambda: 'is spared' in derating(), 20.0, 'the reason in the state of the fleet')
    low.percentage, low.current = 0.9, 1.0
    low.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_CHARGING
    wait(lambda: derating() == '', 20.0, 'derating to end')
    node.destroy_timer(timer)
