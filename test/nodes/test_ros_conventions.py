# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A running fleet in the hands of ROS tools: services, explained decisions, diagnostics, plots, a bag that is replayed."""

import json
import time

import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.graph.cuts import candidate_boundaries

RECORDED = {'heartbeat': 'Heartbeat', 'telemetry': 'Telemetry', 'profile': 'Profile', 'energy': 'DeviceEnergy',
            'source_status': 'SourceStatus', 'frame_report': 'FrameReport', 'plan': 'Plan'}  # fmt: skip


class Recorder:
    """Records the topics that a scheduler hears, as `ros2 bag record` does."""

    def __init__(self, node, fleet):
        from edge_dnn_partition import msg
        from edge_dnn_partition.nodes.core import qos

        self._heard = []
        profiles = {'plan': qos.PLAN, 'profile': qos.PROFILE, 'heartbeat': qos.heartbeat_reader(), 'frame_report': qos.RESULT,
                    'source_status': qos.STATE}
        self._subscriptions = [
            node.create_subscription(
                getattr(msg, name), f'/{fleet}/{kind}',
                lambda data, kind=kind: self._heard.append((kind, time.time_ns(), data)), profiles.get(kind, qos.TELEMETRY), raw=True,
            ) for kind, name in RECORDED.items()
        ]  # fmt: skip
        self._fleet = fleet

    def write(self, path):
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        from edge_dnn_partition import ros_env

        store, types = get_typestore(Stores.ROS2_JAZZY), {}
        for file in (ros_env.install_prefix() / 'share' / 'edge_dnn_partition' / 'msg').glob('*.msg'):
            types |= get_types_from_msg(file.read_text(), f'edge_dnn_partition/msg/{file.stem}')
        store.register(types)
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {
                kind: writer.add_connection(f'/{self._fleet}/{kind}', f'edge_dnn_partition/msg/{name}', typestore=store)
                for kind, name in RECORDED.items()
            }
            for kind, nanoseconds, data in list(self._heard):
                writer.write(connections[kind], nanoseconds, data)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('conventions')


@pytest.fixture(scope='module')
def trial(ros_domain, folder):
    """A fleet that is recorded from its first moment on."""
    from trial_fleet import trial_fleet

    patch = pytest.MonkeyPatch()
    patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
    parameters = {'scheduler': {'policy': 'exact', 'plot_hz': 10.0},
                  'device_monitor': {'qos_overrides./trial/telemetry.publisher.reliability': 'reliable'}}  # fmt: skip
    with trial_fleet(folder, parameters=parameters) as running:
        yield running
    patch.undo()


@pytest.fixture(scope='module')
def recorder(trial):
    return Recorder(trial.client.node, 'trial')


@pytest.fixture(scope='module')
def half(trial):
    """A cut in the middle that profiling measured."""
    boundaries = candidate_boundaries(trial.model, limit=20)
    return boundaries[len(boundaries) // 2]


def tell(trial, what, name=''):
    """Call a service of the scheduler as `ros2 service call` does."""
    from edge_dnn_partition.srv import PinPlan, ProfileAgain
    from std_srvs.srv import Trigger

    kinds = {'pin_plan': (PinPlan, {'plan': name}), 'profile_again': (ProfileAgain, {'device': name})}
    kind, fields = kinds.get(what, (Trigger, {}))
    return trial.client.call(kind, f'/trial/{what}', kind.Request(**fields))


def explained(trial, condition, what):
    trial.client.wait_for(lambda: trial.news.decisions and condition(trial.news.decisions[-1]), 20.0, what)
    return trial.news.decisions[-1]


def test_a_plan_is_pinned_and_explained_and_freed(trial, recorder, half):
    label = f'jetson:pre-{half} cloud:{half}-{len(trial.model.layers)}'
    answers = []

    def asked():
        answers.append(tell(trial, 'pin_plan', label.replace(str(len(trial.model.layers)), 'end')))
        return 'not profiled yet' not in answers[-1].message

    trial.client.wait_for(asked, 60.0, 'the profiles of all devices')
    answer = answers[-1]
    assert answer.success and answer.message.startswith('pinned, '), answer.message
    assert answer.message.endswith(f', {label}'), answer.message
    trial.client.wait_for(lambda: trial.client.plan.label() == label, 20.0, 'the pinned plan')
    assert answer.message.endswith(f': plan {trial.client.plan.version}, {label}')
    found = explained(trial, lambda d: d.version == trial.client.plan.version, 'its explanation')
    assert found.moved
    assert found.text.startswith(f'cut after layer {half - 1} (jetson to cloud): ')
    assert ' over a link of ' in found.text and ('; next best: ' in found.text or '; predicted to be better: ' in found.text) and 'asked for by fixed_plan' in found.text
    assert (found.objective, found.unit) == ('latency', 's')
    assert found.value > 0 and found.next_best_value > 0 and found.next_best
    stays = explained(trial, lambda d: not d.moved, 'why it stays')
    assert stays.text.endswith('stays: the policy is fixed') and stays.version == found.version
    again = tell(trial, 'pin_plan')
    assert again.success and 'which was in force' in again.message
    refused = tell(trial, 'replan')
    assert not refused.success and 'free_plan' in refused.message
    free = tell(trial, 'free_plan')
    assert free.success and free.message.startswith('free: the policy exact decides; plan ')
    assert tell(trial, 'free_plan').message == 'no plan was pinned; the policy is exact'
    trial.more_frames(5, trial.client.plan.version)


@pytest.mark.parametrize('node', ['scheduler', 'pi/worker', 'pi/device_monitor', 'pi/frame_source'])
def test_a_dump_of_the_parameters_can_be_loaded(trial, folder, node):
    """By the services, and with the file, of `ros2 param dump` and `ros2 param load`."""
    from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
    from rclpy.parameter import Parameter, parameter_dict_from_yaml_file, parameter_value_to_python

    def call(kind, name, **fields):
        return trial.client.call(kind, f'/trial/{node}/{name}', kind.Request(**fields))

    names = sorted(call(ListParameters, 'list_parameters').result.names)
    values = [parameter_value_to_python(value) for value in call(GetParameters, 'get_parameters', names=names).values]
    assert len(values) == len(names) and None not in values
    nested = {}
    for name, value in zip(names, values, strict=True):
        *groups, last = name.split('.')
        group = nested
        for part in groups:
            group = group.setdefault(part, {})
        group[last] = value
    file = folder / 'dump.yaml'
    file.write_text(yaml.dump({f'/trial/{node}': {'ros__parameters': nested}}))
    asked = parameter_dict_from_yaml_file(str(file), True)
    results = call(SetParameters, 'set_parameters', parameters=[*asked.values()]).results
    assert {*asked} == {*names}
    assert not [(name, result.reason) for name, result in zip(asked, results, strict=True) if not result.successful]
    other = Parameter('fleet_file', value='/another.yaml').to_parameter_msg()
    (refused,) = call(SetParameters, 'set_parameters', parameters=[other]).results
    assert not refused.successful and 'read-only' in refused.reason


@pytest.mark.parametrize(
    ('plan', 'reason'),
    [
        ('nowhere', "no device is called 'nowhere'"),
        ('pi:', 'DEVICE:RANGES'),
        ('pi:pre-3 tpu:3-end', "no device is called 'tpu'"),
        ('pi:pre-3', 'each of the'),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused_with_the_reason(trial, plan, reason):
    before = trial.client.plan.version
    answer = tell(trial, 'pin_plan', plan)
    assert not answer.success and reason in answer.message
    assert trial.client.plan.version >= before
    assert tell(trial, 'free_plan').message == 'no plan was pinned; the policy is exact'


def test_replan_says_what_came_of_it(trial, recorder):
    assert tell(trial, 'pin_plan', 'pi').success
    assert tell(trial, 'free_plan').success
    answer = tell(trial, 'replan')
    assert answer.success
    assert answer.message.startswith(('moved, ', 'plan ', 'the fleet was on the move')), answer.message
    trial.client.wait_for(lambda: f'plan {trial.client.plan.version}, ' in answer.message, 20.0, 'the plan of the answer')


def test_a_device_is_profiled_again(trial):
    answer = tell(trial, 'profile_again', 'jetson')
    assert answer.success and answer.message.startswith('jetson: '), answer.message
    assert ' ms for the whole model, before ' in answer.message
    wrong = tell(trial, 'profile_again', 'tpu')
    assert not wrong.success and 'known are cloud, jetson, pi' in wrong.message
    trial.more_frames(5)


def test_the_command_line_tells_the_fleet(trial, half, folder):
    """`tell` as a process of its own, as users run it."""
    import subprocess
    import sys

    label = f'jetson:pre-{half} pi:{half}-{len(trial.model.layers)}'
    command = [sys.executable, '-m', 'edge_dnn_partition.cli', 'tell', str(folder / 'fleet.yaml')]
    said = subprocess.run([*command, 'pin', label], capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    assert (said.returncode, said.stderr) == (0, '')
    assert said.stdout.startswith('pinned, ') and trial.client.plan.label() == label
    assert tell(trial, 'free_plan').success


def test_figures_are_plotted(trial):
    from std_msgs.msg import Float64

    figures = {}
    names = ('latency_ms', 'fps', 'regret', 'bandwidth_mbit_per_second/pi_to_cloud', 'load_percent/jetson')
    for name in names:
        trial.client.node.create_subscription(
            Float64, f'/trial/plot/{name}', lambda message, name=name: figures.__setitem__(name, message.data), 1
        )
    trial.client.wait_for(lambda: set(names) <= set(figures), 20.0, f'figures for {names}, got {figures}')
    assert figures['latency_ms'] > 0 and figures['fps'] > 0 and figures['regret'] > 0
    assert figures['bandwidth_mbit_per_second/pi_to_cloud'] > 1


def test_a_quality_of_service_is_overridden_by_a_parameter(trial):
    from rclpy.qos import ReliabilityPolicy

    def reliability(topic):
        return {info.qos_profile.reliability for info in trial.client.node.get_publishers_info_by_topic(topic)}

    assert reliability('/trial/telemetry') == {ReliabilityPolicy.RELIABLE}
    assert reliability('/trial/energy') == {ReliabilityPolicy.BEST_EFFORT}


def test_diagnostics_tell_of_devices_and_pipeline_and_of_one_that_dies(trial, recorder):
    import signal

    import yaml
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    from edge_dnn_partition import ros_env

    arrays = []
    trial.client.node.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)

    def last():
        return {status.name: status for status in arrays[-1].status} if arrays else {}

    devices = [f'trial/scheduler: device {name}' for name in ('cloud', 'jetson', 'pi')]
    trial.client.wait_for(lambda: last() and last()[devices[0]].level == DiagnosticStatus.OK, 20.0, 'diagnostics')
    assert list(last()) == [*devices, 'trial/scheduler: pipeline']
    assert [status.hardware_id for status in arrays[-1].status] == ['trial/cloud', 'trial/jetson', 'trial/pi', 'trial']
    groups = yaml.safe_load((ros_env.install_prefix() / 'share/edge_dnn_partition/config/diagnostics.yaml').read_text())
    groups = groups['analyzers']['ros__parameters']
    parts = [part for group in groups.values() if isinstance(group, dict) for part in group['contains']]
    assert all(sum(part in name for part in parts) == 1 for name in last()), 'as the aggregator groups them'
    values = {pair.key: pair.value for pair in last()[devices[0]].values}
    assert values['profiled'] == 'yes' and float(values['seconds since heartbeat']) < 1 and 'link to pi' in values

    def whole():
        return {pair.key: pair.value for pair in last()['trial/scheduler: pipeline'].values}

    # They come once a second, and the plan may just have changed.
    trial.client.wait_for(lambda: whole()['plan'].endswith(trial.client.plan.label()), 20.0, 'the plan in diagnostics')
    assert float(whole()['latency ms']) > 0
    trial.supervisor.signal('cloud/worker', signal.SIGKILL)
    trial.client.wait_for(lambda: last()[devices[0]].level == DiagnosticStatus.ERROR, 20.0, 'an error of the dead device')
    assert last()[devices[0]].message.startswith('no heartbeat from its worker for ')
    assert last()['trial/scheduler: pipeline'].level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    trial.client.wait_for(lambda: 'cloud' not in trial.client.plan.devices, 20.0, 'a plan without it')
    trial.more_frames(5, trial.client.plan.version)
    refused = tell(trial, 'pin_plan', 'cloud')
    assert not refused.success and 'cloud is not running' in refused.message


def test_what_was_recorded_is_replayed(trial, recorder, half, folder, capsys):
    recorder.write(folder / 'bag')
    assert main(['replay', str(folder / 'bag'), '--fleet', str(folder / 'fleet.yaml'), '--policy', 'exact', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['policy'], found['objective'], found['unit'], found['refused']) == ('exact', 'latency', 's', [])
    then = [step['plan'] for step in found['then']]
    assert f'jetson:pre-{half} cloud:{half}-{len(trial.model.layers)}' in then
    assert found['decisions'] > 20 and found['seconds'] > 5
    gone = [step for step in found['now'] if step['reason'].endswith('cannot go on')]
    assert all('cloud' not in step['plan'] for step in gone)
    assert all(step['text'] for step in found['now'])
