# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fuzzer in short form: real messages' bytes, changed, are read or refused; nothing else is raised, and memory stays bounded."""

import dataclasses
import math
import os
import random

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.errors import PlanError, UserError, WireError

SHA = '0' * 64
ROUNDS = 400


def samples():
    """Messages as nodes send them, by type."""
    from edge_dnn_partition import msg

    times = {'stages': [msg.StageTiming(device='pi', stage=0)], 'hops': [msg.HopTiming(sender='pi', receiver='jetson')]}
    links = {'peers': ['jetson'], 'bytes_per_second': [1e6], 'latency_seconds': [math.nan], 'age_seconds': [0.5]}
    return [
        msg.Plan(status=1, version=3, model_sha256=SHA, source='pi', sink='pi', max_in_flight=2,
                 stages=[msg.PlanStage(device='jetson', preprocess=True, layer_ranges=[0, 10], outputs=['y'])],
                 transfers=[msg.PlanTransfer(tensor='y', from_device='jetson', to_device='pi', to_sink=True, encoding='raw'),
                            msg.PlanTransfer(tensor='@image', from_stage=-1, from_device='pi', to_device='jetson',
                                             encoding='raw')]),
        msg.Heartbeat(device='pi', node='worker', incarnation=5, model_sha256=SHA, plan_versions=[3], **links),
        msg.Telemetry(device='pi', cpu_percent=3.0, cpu_percent_per_core=[1.0, 5.0], interfaces=['eth0'],
                      sent_bytes_per_second=[1.0], received_bytes_per_second=[1.0], drops_per_second=[0.0],
                      link_bytes_per_second=[1e8], signal_dbm=[-60.0], power=[msg.PowerState(source='x', watts=3.0)]),
        msg.Profile(device='pi', model_sha256=SHA, threads=1, boundaries=[0, 5, 10], segment_seconds=[0.1, 0.2],
                    seam_seconds=[-0.01], codings=[msg.TensorCoding(tensor='y', encoding='zstd', size=9)]),
        msg.FrameReport(frame_number=4, plan_version=3, energy_joules=math.nan, hop_radio_joules=[math.nan], **times),
        msg.StageState(device='pi', state=1, plan_version=3), msg.SourceStatus(device='pi', accepted=4),
        msg.DeviceEnergy(device='pi', covered_seconds=2.0, idle_joules=-0.1, boundaries=[0, 10], node_joules=[0.1, 0.2]),
        msg.HopAck(sender='pi', receiver='jetson', missing=[4, 5], reason='because'),
        msg.Exploration(senders=['pi'], receivers=['jetson'], shares=[1.0], bytes_per_second=[1e6]),
        msg.Share(fleet='demo', hosts=['pi'], cores=[1.0], memory_bytes=[1e6]),
        msg.Emulation(devices=['pi'], slowdowns=[2.0], link_senders=['pi'], link_receivers=['jetson'],
                      link_bytes_per_second=[1e6], link_latency_seconds=[0.0], link_channels=['']),
        msg.FrameFailure(device='pi', reason='why'), msg.Result(frame_number=4, outputs=[msg.TensorData(name='y', dtype=1, shape=[1], data=[0, 0, 0, 0])], **times),
        msg.FleetState(), msg.Decision(text='why'), msg.Calibration(),
    ]  # fmt: skip


def resident_bytes():
    with open('/proc/self/statm', encoding='ascii') as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


@pytest.fixture
def quiet(capfd):
    """Fast CDR writes to stderr of every sequence that is too long."""
    yield
    capfd.readouterr()


def changed(raw, seeded):
    """Return bytes with some changed, cut off, doubled or put in."""
    other = bytearray(raw)
    for _ in range(seeded.randrange(1, 5)):
        at = seeded.randrange(4, max(5, len(other)))
        kind = seeded.randrange(4)
        if kind == 0 and at < len(other):
            other[at] = seeded.choice((0, 1, 0x7F, 0x80, 0xFF, seeded.randrange(256)))
        elif kind == 1:
            other[at : at + 8] = seeded.choice((b'\xff' * 8, b'\0\0\0\0\0\0\xf0\x7f', b'\0\0\0\0\0\0\xf8\x7f', b'\0' * 8))
        elif kind == 2:
            del other[at:]
        else:
            other[at:at] = other[at : at + seeded.randrange(40)]
    return bytes(other)


def test_changed_messages_are_read_or_refused_whatever_they_claim(quiet):
    from rclpy.serialization import serialize_message

    from edge_dnn_partition.control.state.fleet_estimator import host_load, profile_of
    from edge_dnn_partition.nodes.conversions.conversions import telemetry_from_message
    from edge_dnn_partition.nodes.conversions.plan_messages import plan_for, status_of
    from edge_dnn_partition.nodes.conversions.wire import tensor_array
    from edge_dnn_partition.nodes.core.reading import read
    from edge_dnn_partition.planning.fleet.fleet import Fleet

    fleet = Fleet.model_validate({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}})
    use = {
        'Plan': lambda m: (status_of(m), plan_for(m, fleet).label(), plan_for(m, None).label()), 'Profile': profile_of,
        'Telemetry': lambda m: (telemetry_from_message(m), host_load(m)),
        'Result': lambda m: [tensor_array(tensor) for tensor in m.outputs],
    }  # fmt: skip
    seeded, before, outcomes = random.Random(5), resident_bytes(), {True: 0, False: 0}
    for sample in samples():
        kind, raw = type(sample), serialize_message(sample)
        use.get(kind.__name__, lambda m: m)(read(raw, kind))
        for _ in range(ROUNDS):
            mutant = changed(raw, seeded)
            try:
                use.get(kind.__name__, lambda m: m)(read(mutant, kind))
                outcomes[True] += 1
            except UserError:
                outcomes[False] += 1
    assert min(outcomes.values()) > 1000, outcomes
    assert resident_bytes() - before < 100e6


def test_a_scheduler_plans_on_after_whatever_it_was_told(quiet, tmp_path):
    """Changed heartbeats, telemetry, profiles and reports reach the estimators; the problem can still be made and solved."""
    from rclpy.serialization import serialize_message

    from edge_dnn_partition.control.state.derating import DeratingSettings
    from edge_dnn_partition.control.state.fleet_estimator import FleetEstimator
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.nodes.core.reading import read
    from edge_dnn_partition.planning.cost_model.evaluate import evaluate
    from edge_dnn_partition.planning.fleet.fleet import Fleet
    from edge_dnn_partition.planning.objectives import Goal
    from edge_dnn_partition.planning.plans.encodings import Permitted
    from edge_dnn_partition.planning.solvers.solve import solve
    from edge_dnn_partition.testbed import demo_model

    model = load_model(demo_model.cached('tiny'))
    fleet = Fleet.model_validate({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}},
                                  'links': [{'between': ['pi', 'jetson'], 'rate': '10 Mbit/s'}]})  # fmt: skip
    fleet_estimator = FleetEstimator(model, fleet, heartbeat_timeout=100.0, input_bytes=10_000)
    seeded = random.Random(9)

    def tell(message, now):
        name = type(message).__name__
        if name == 'Heartbeat':
            fleet_estimator.on_links(message, now)
            fleet_estimator.on_worker(message, now)
        elif name in ('Telemetry', 'Profile', 'DeviceEnergy', 'SourceStatus'):
            kind = {'DeviceEnergy': 'energy', 'SourceStatus': 'source_status'}.get(name, name.lower())
            getattr(fleet_estimator, f'on_{kind}')(message)
        elif name == 'FrameReport':
            fleet_estimator.on_report(message, None, now)

    right = []
    for message in samples():
        if hasattr(message, 'model_sha256'):
            message.model_sha256 = model.sha256
        if type(message).__name__ == 'Profile':
            message.boundaries, message.segment_seconds, message.seam_seconds = [0, len(model.layers)], [0.1], []
            message.preprocess_seconds, message.codings = 0.01, []
        for device in ('pi', 'jetson'):
            if hasattr(message, 'device'):
                message.device = device
            if hasattr(message, 'peers'):
                message.peers = ['jetson' if device == 'pi' else 'pi']
            right.append(read(serialize_message(message), type(message)))
    for now, message in enumerate(right):
        tell(message, now)
    for now in range(100, 3000):
        message = seeded.choice(right)
        try:
            tell(read(changed(serialize_message(message), seeded), type(message)), now)
        except UserError:
            continue
    for message in right:
        tell(message, 5000)
    problem = fleet_estimator.problem(('pi', 'jetson'), 5000.0, Permitted(), Goal('latency'), DeratingSettings())
    assert math.isfinite(evaluate(problem, solve(problem).assignment).latency_seconds)
    assert set(fleet_estimator.view.devices) == {'pi', 'jetson'}


@pytest.mark.parametrize(
    ('kind', 'changes'),
    [('Heartbeat', {'age_seconds': [-1.0]}), ('Heartbeat', {'bytes_per_second': [math.inf]}), ('Heartbeat', {'peers': []}),
     ('Heartbeat', {'last_refusal': 'x' * 2_000_000}), ('FrameReport', {'latency_seconds': math.nan}),
     ('Emulation', {'slowdowns': [1e9]}), ('Emulation', {'link_bytes_per_second': [0.0]}), ('Telemetry', {'cpu_percent': -1.0}),
     ('HopAck', {'spread_seconds': math.inf}), ('Share', {'cores': [math.nan]}), ('Share', {'cores': []}),
     ('DeviceEnergy', {'active_watts': -5.0}), ('Profile', {'segment_seconds': [1e300, 0.1]})],
)  # fmt: skip
def test_figures_that_cannot_be_are_refused(kind, changes):
    from rclpy.serialization import serialize_message

    from edge_dnn_partition.nodes.core.reading import read

    message = next(sample for sample in samples() if type(sample).__name__ == kind)
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(WireError):
        read(serialize_message(message), type(message))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [({'source': 'jetson'}, 'the source is on jetson'), ({'model_sha256': '1' * 64}, 'another model'), ({'max_in_flight': 2**32 - 1}, 'predicted costs are impossible'),
     ({'latency_seconds': math.inf}, 'predicted costs are impossible'), ({'reason': 'x' * 5000}, '5000 characters'), ({'stages': []}, 'has no stage'),
     ({'sink': 'nowhere'}, 'no device is called')],
)  # fmt: skip
def test_every_receiver_refuses_a_wrong_plan_alike(changes, words):
    from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
    from edge_dnn_partition.planning.fleet.fleet import Fleet

    fleet, model = Fleet.model_validate({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}}), Model()
    message = samples()[0]
    assert plan_for(message, fleet, model).version == 3
    for name, value in changes.items():
        setattr(message, name, value)
    if 'stages' in changes:
        model = None
    with pytest.raises(PlanError, match=words):
        plan_for(message, fleet, model)


def test_who_has_no_model_takes_a_plan_whose_first_stage_has_several_inputs():
    """Nothing is sent to a stage on the source: its inputs stand in no transfer."""
    from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
    from edge_dnn_partition.planning.fleet.fleet import Fleet
    from edge_dnn_partition.planning.plans.plan import IMAGE, image_name

    fleet, message = Fleet.model_validate({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}}), samples()[0]
    message.stages[0].inputs = [IMAGE, image_name(1, 'wrist'), 'state']
    with pytest.raises(PlanError, match='wrist'):
        plan_for(message, fleet)
    message.stages[0].device = message.transfers[0].from_device = 'pi'
    message.transfers = message.transfers[:1]
    assert plan_for(message, fleet).stages[0].inputs[1:] == ('@image:wrist', 'state')


def test_a_plan_that_claims_four_thousand_million_layers_takes_no_memory():
    from edge_dnn_partition.nodes.conversions.plan_messages import plan_for

    message, before = samples()[0], resident_bytes()
    message.stages[0].layer_ranges = [0, 2**32 - 1] * 50_000
    for model in (Model(), None):
        with pytest.raises(PlanError, match='do not exist'):
            plan_for(message, None, model)
    message.stages[0].layer_ranges = [0]
    with pytest.raises(PlanError, match='without an end'):
        plan_for(message, None)
    assert resident_bytes() - before < 100e6


@dataclasses.dataclass(frozen=True)
class Model:
    """As much of a model as a plan is checked against."""

    sha256: str = SHA
    inputs: tuple = ('x',)
    layers: tuple = (None,) * 10
    tensors: dict = dataclasses.field(default_factory=lambda: {'y': None})


def test_emulated_figures_that_devices_would_ignore_are_refused():
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

    client, published = FleetClient.__new__(FleetClient), []
    client._slowdowns, client._links = {}, {}
    client._emulation = type('Publisher', (), {'publish': lambda _, message: published.append(message)})()
    for slowdowns, link in (({}, (0.0, 0.1)), ({}, (1e6, math.inf)), ({'pi': 0.0}, (1e6, 0.1))):
        with pytest.raises(UserError, match='impossible figures.*rates of 1 to 1e12'):
            client.emulate(slowdowns, {('pi', 'box'): link})
    client.emulate({'pi': 2.0}, {('pi', 'box'): (1e6, 0.1)})
    assert list(published[0].link_bytes_per_second) == [1e6, 1e6] and len(published) == 1


def heartbeats(seed):
    """Heartbeats of some nodes in turn, most of which say what they said before."""
    from builtin_interfaces.msg import Time
    from edge_dnn_partition.msg import Heartbeat

    chance, said = random.Random(seed), {}
    for turn in range(300):
        device = chance.choice(['pi', 'jetson', 'cloud', 'a_device_with_a_long_name'])
        if device not in said or chance.random() < 0.2:
            peers = chance.sample(['pi', 'jetson', 'cloud'], chance.randrange(4))
            said[device] = {
                'device': device, 'node': chance.choice(['worker', 'frame_source']), 'incarnation': chance.getrandbits(63),
                'plan_versions': [chance.randrange(9) for _ in range(chance.randrange(3))], 'speed_factor': chance.choice([1.0, math.nan]),
                'last_refusal': chance.choice(['', 'why']), 'peers': peers, 'bytes_per_second': [chance.random() for _ in peers],
                'latency_seconds': [math.nan for _ in peers],
            }  # fmt: skip
        ages = [chance.random() * 50 for _ in said[device]['peers']]
        seal = bytes(chance.randrange(256) for _ in range(40 * (seed % 2)))
        yield Heartbeat(stamp=Time(sec=turn, nanosec=chance.randrange(10**9)), age_seconds=ages, seal=seal, **said[device])


@pytest.mark.parametrize('seed', range(5))
def test_a_heartbeat_that_is_known_reads_as_if_it_were_new(seed):
    from edge_dnn_partition.msg import Heartbeat
    from rclpy.serialization import serialize_message

    from edge_dnn_partition.nodes.core.reading import read, reader

    known, met, again = reader(Heartbeat), set(), 0
    for sent in heartbeats(seed):
        raw = serialize_message(sent)
        found = known(raw)
        again += id(found) in met
        met.add(id(found))
        expected = read(raw, Heartbeat)
        found.seal = expected.seal  # checked before
        assert repr(found) == repr(expected)
    assert again > 120


def test_a_known_heartbeat_with_an_impossible_age_is_refused_as_a_new_one():
    from edge_dnn_partition.msg import Heartbeat
    from rclpy.serialization import serialize_message

    from edge_dnn_partition.nodes.core.reading import reader

    known = reader(Heartbeat)
    sent = Heartbeat(device='pi', peers=['jetson'], bytes_per_second=[1e6], latency_seconds=[0.1], age_seconds=[0.5])
    first = known(serialize_message(sent))
    for age in (math.nan, -1.0, math.inf):
        sent.age_seconds = [age]
        with pytest.raises(WireError, match='age_seconds'):
            known(serialize_message(sent))
    assert list(first.age_seconds) == [0.5]
    raw = serialize_message(sent)
    for cut in range(len(raw)):
        with pytest.raises(WireError):
            known(raw[:cut])
