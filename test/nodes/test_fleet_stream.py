# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A whole fleet in real processes: frames, results, plan switches, a killed worker, a refused plan, a clean end."""

import dataclasses
import math
import signal
import time

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def forge(trial):
    """Say what no node of the fleet has said, ten times a second, without the fleet's key."""
    from edge_dnn_partition.msg import Emulation, Heartbeat, Profile, Result, SourceStatus, StageState, TensorFragment
    from edge_dnn_partition.msg import Plan as PlanMessage

    from edge_dnn_partition.nodes.conversions.plan_messages import plan_message
    from edge_dnn_partition.nodes.core import qos

    node, topics, sha = trial.client.node, trial.client.topics, trial.model.sha256
    plan = plan_message(dataclasses.replace(trial.client.plan, version=2**31), PlanMessage.ACTIVE)
    said = [
        (topics.plan, qos.PLAN, plan),
        (topics.plan, qos.PLAN, PlanMessage(version=trial.client.plan.version + 1, model_sha256=sha, status=PlanMessage.DROPPED)),
        *((topic, qos.HEARTBEAT, Heartbeat(device='pi', node='worker', incarnation=9, model_sha256=sha,
                                           last_version=2**32 - 1, active_version=2**32 - 1))
          for topic in (topics.heartbeat, topics.stage_heartbeat)),
        (topics.plan_state, qos.PLAN_STATE, StageState(device='pi', state=StageState.FAILED, plan_version=2)),
        (topics.profile, qos.PROFILE, Profile(device='pi', model_sha256=sha, threads=1, boundaries=[0, len(trial.model.layers)],
                                              segment_seconds=[1e9])),
        (topics.emulation, qos.EMULATION, Emulation(devices=['pi', 'jetson', 'cloud'], slowdowns=[1e6] * 3)),
        (topics.source_status, qos.STATE, SourceStatus(device='pi', accepted=10**9, lost=10**9)),
        (topics.result, qos.RESULT, Result(frame_number=1, status=Result.OK)),
        *((topics.tensors(device), qos.TENSORS, TensorFragment(sender='pi', message=5, count=9, index=1, total=2**32 - 1))
          for device in trial.fleet.devices),
    ]  # fmt: skip
    publishers = [(node.create_publisher(type(message), topic, profile), message) for topic, profile, message in said]
    node.create_timer(0.1, lambda: [publisher.publish(message) for publisher, message in publishers])


def test_a_stream_survives_switches_a_killed_worker_and_forgeries(tmp_path):
    from edge_dnn_partition.msg import Heartbeat
    from trial_fleet import check_frames, trial_fleet

    from edge_dnn_partition.deployment.fleet_key import write_key
    from edge_dnn_partition.nodes.core import qos

    victim, beats = 'cloud/worker', {}
    write_key(tmp_path / 'fleet.key')
    with trial_fleet(tmp_path, key=tmp_path / 'fleet.key') as trial:
        trial.client.node.create_subscription(
            Heartbeat, '/trial/heartbeat', lambda beat: beats.update({(beat.device, beat.node): beat}), qos.heartbeat_reader()
        )
        forge(trial)
        half = len(trial.model.layers) // 2
        for first in ('pi', 'jetson'):
            trial.follow(f'{first}:pre-{half} cloud:{half}-end')
        with pytest.raises(UserError, match='fixed_plan|plan'):
            trial.client.set_scheduler({'fixed_plan': 'pi:pre-1 nowhere:1-end'})
        trial.more_frames()
        trial.supervisor.signal(victim, signal.SIGKILL)
        trial.client.wait_for(lambda: 'cloud' not in trial.client.plan.devices, 20.0, 'a plan without the dead worker')
        trial.more_frames(version=trial.client.plan.version)
        for name in (('jetson', 'worker'), ('pi', 'frame_source')):
            trial.client.wait_for(lambda name=name: beats[name].refused > 10, 20.0, f'refusals of {name}')
            assert 'no valid seal' in beats[name].last_refusal
        trial.settle()
        started = len(trial.supervisor.running) + 1
        codes = {**trial.supervisor.ended(), **trial.supervisor.stop()}
    check_frames(trial, tmp_path)
    assert codes.pop('cloud/device') == -signal.SIGKILL
    assert set(codes.values()) == {0}, (codes, trial.log[-30:])
    assert len(codes) == started - 1
    assert 10 > len({plan.version for _, plan in trial.news.plans}) >= 3
    assert max(plan.version for _, plan in trial.news.plans) < 50


def test_wrong_fragments_are_refused_with_a_reason_and_the_stream_goes_on(tmp_path):
    from edge_dnn_partition.msg import FragmentHead, Heartbeat, HopAck, TensorFragment, TensorInfo
    from trial_fleet import check_frames, trial_fleet

    from edge_dnn_partition.nodes.core import qos

    with trial_fleet(tmp_path) as trial:
        half = len(trial.model.layers) // 2
        trial.follow(f'jetson:pre-{half} cloud:{half}-end')
        node, version = trial.client.node, trial.client.plan.version
        beats, acks = [], []
        node.create_subscription(Heartbeat, '/trial/heartbeat', beats.append, qos.heartbeat_reader())
        node.create_subscription(HopAck, '/trial/pi/receipts', acks.append, qos.ACKS)
        inbox = node.create_publisher(TensorFragment, '/trial/jetson/tensors', qos.TENSORS)
        trial.client.wait_for(lambda: inbox.get_subscription_count() == 1, 20.0, 'the inbox')

        def fragment(message, *, sender='pi', total=4, **changes):
            head = {
                'model_sha256': trial.model.sha256, 'plan_version': version, 'frame_number': 1, 'from_stage': -1,
                'tensors': [TensorInfo(name='image', dtype=2, shape=[4], encoding='jpeg', offset=0, size=4)],
            }  # fmt: skip
            return TensorFragment(
                sender=sender, incarnation=7, message=message, index=0, count=1, total=total, data=[1, 2, 3, 4],
                head=[FragmentHead(**(head | changes))],
            )  # fmt: skip

        wrong = {
            'shape': fragment(1, tensors=[TensorInfo(name='image', dtype=1, shape=[7], encoding='raw', offset=0, size=4)]),
            'end': fragment(2, total=400),
            'is not known here': fragment(3, plan_version=version + 1000),
            'another model': fragment(4, model_sha256='0' * 64),
            'needs no tensor': fragment(
                5, tensors=[TensorInfo(name='no such', dtype=2, shape=[4], encoding='raw', offset=0, size=4)]),
            'not a device of this fleet': fragment(6, sender='stranger'),
        }  # fmt: skip

        def jetson():
            return next((b for b in reversed(beats) if b.device == 'jetson' and b.node == 'worker'), None)

        trial.client.wait_for(lambda: jetson() is not None, 20.0, 'a heartbeat')
        def refused(words, message, before):
            """Send it, again each second: fragments go best effort, and the reader may not know of this writer yet."""
            sent_at = -math.inf

            def told():
                nonlocal sent_at
                if time.monotonic() - sent_at > 1.0:
                    inbox.publish(message)
                    sent_at = time.monotonic()
                return jetson().refused > before and words in jetson().last_refusal

            return told

        for words, message in wrong.items():
            trial.client.wait_for(refused(words, message, jetson().refused), 20.0, f'a refusal: {words}')
        mine = {r.message: r for r in acks if r.incarnation == 7}
        assert set(mine) == {1, 2, 3, 4, 5}
        assert all(r.state == HopAck.REFUSED and r.reason for r in mine.values())
        trial.more_frames(10, version=version)
        trial.settle()
    check_frames(trial, tmp_path)
