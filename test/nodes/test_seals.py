# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""With a key nothing is believed but what is sealed, lives and is new: over real DDS, for every message of the fleet."""

import importlib
import inspect

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from hop import Hop

KEY = bytes(range(32))


def test_every_message_that_a_topic_carries_has_a_seal():
    """`Seals` refuses to advertise or hear one without; here for those that no test happens to use."""
    from edge_dnn_partition import msg
    from edge_dnn_partition.nodes.core.topics import Topics

    carried = {word for member in vars(Topics).values() for word in dir(msg) if f'({word})' in (inspect.getdoc(member) or '')}
    assert {'Plan', 'Heartbeat', 'TensorFragment', 'Result', 'Share', 'Sessions'} <= carried
    for name in carried:
        assert list(getattr(msg, name).get_fields_and_field_types())[-1] == 'seal', name


def test_a_message_without_a_seal_cannot_be_advertised(context):
    from edge_dnn_partition.msg import StageTiming

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.nodes.core.base import FleetNode

    node = FleetNode('end', namespace='/hop/pi', context=context)
    try:
        with pytest.raises(TypeError, match='StageTiming needs a last field'):
            node.advertise(StageTiming, 'here', qos.PLAN)
    finally:
        node.destroy_node()


class Recorder:
    """Hears a topic as bytes, without a key, and can say them again."""

    def __init__(self, node, message_type, topic, profile):
        self.heard = []
        node.create_subscription(message_type, topic, self.heard.append, profile, raw=True)
        self.publisher = node.create_publisher(message_type, topic, profile)


def test_recordings_and_forgeries_are_refused_and_a_stream_goes_on(context):
    import rclpy
    from edge_dnn_partition.msg import Plan, TensorFragment

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.transport.fragment_codec import encode
    from edge_dnn_partition.transport.fragments import FRAME, Address, TensorMessage
    from edge_dnn_partition.transport.tensors import WireTensor

    hop = Hop(context, 'pi', 'jetson', key=KEY)
    attacker = rclpy.create_node('attacker', context=context)
    hop.executor.add_node(attacker)
    fragments = Recorder(attacker, TensorFragment, '/hop/jetson/tensors', qos.TENSORS)
    plans, told = Recorder(attacker, Plan, '/hop/plan', qos.PLAN), []
    try:
        scheduler, worker = hop.ends
        scheduler.advertise(Plan, '/hop/plan', qos.PLAN, always=True).publish(Plan(version=3))
        worker.subscribe(Plan, '/hop/plan', lambda plan: told.append(plan.version), qos.PLAN)
        hop.spin_until(lambda: told == [3])
        hop.discover()
        tensor = np.arange(300_000, dtype=np.uint8)
        hop.send(1, {'t': tensor})
        hop.spin_until(lambda: hop.got and len(fragments.heard) >= 5 and plans.heard)
        np.testing.assert_array_equal(hop.got[0][1]['t'], tensor)
        hop.spin_until(lambda: hop.sender.bytes_waiting == 0)
        forged = TensorMessage(FRAME, 'pi', scheduler.incarnation, Address('m', 1, 9, 0, -1), 77, memoryview(b'1234'),
                        (WireTensor('t', 2, (4,), 'raw', 0, 4),))  # fmt: skip
        refused = worker.refused

        def refuses(kind, publisher, message):
            """Whether it is refused; the first message may come before the reader knows the writer."""
            before = refused[kind]
            hop.spin_until(lambda: publisher.publish(message) or hop.spin(0.02) or refused[kind] > before)

        hop.spin_until(lambda: fragments.publisher.get_subscription_count() == 2 == plans.publisher.get_subscription_count())
        refuses('seal', fragments.publisher, encode(forged.fragment(0)))
        refuses('seal', plans.publisher, Plan(version=2**32 - 1))
        refuses('replay', fragments.publisher, bytes(fragments.heard[0]))
        refuses('seal', plans.publisher, bytes(fragments.heard[0]))
        again = len(plans.heard)
        plans.publisher.publish(bytes(plans.heard[0]))
        hop.spin_until(lambda: len(plans.heard) > again)
        hop.send(2, {'t': tensor})
        hop.spin_until(lambda: len(hop.got) == 2)
        assert [number for number, _ in hop.got] == [1, 2]
        assert told == [3]
        # The sender ends, and the receiver is started anew: what was recorded is of a process that lives no more.
        recorded = [*fragments.heard]
        hop.ends[0].seals.close()
        hop.stop_receiver()
        hop.start_receiver()
        hop.spin_until(lambda: fragments.publisher.get_subscription_count() == 2)
        for _ in range(3):
            for message in recorded:
                fragments.publisher.publish(message)
            hop.spin(0.1)
        assert len(hop.got) == 2
    finally:
        hop.end()
        attacker.destroy_node()


def test_a_node_without_the_key_says_that_once(context):
    from edge_dnn_partition.msg import Plan

    from edge_dnn_partition.nodes.core import qos

    hop = Hop(context, 'pi', 'jetson', key=KEY)
    try:
        scheduler, worker = hop.ends
        worker.seals.close()
        importlib.import_module('hop').use_key(worker, None)
        told = []
        worker.subscribe(Plan, '/hop/plan', lambda plan: told.append(plan.version), qos.PLAN)
        publisher = scheduler.advertise(Plan, '/hop/plan', qos.PLAN, always=True)
        for version in (1, 2):
            publisher.publish(Plan(version=version))
        hop.spin_until(lambda: told == [1, 2])
        assert worker.refused['key'] == 1
        assert 'security.key_file' in worker.last_refusal
    finally:
        hop.end()


def test_a_node_repeats_whom_it_has_heard_where_somebody_does_not_name_it_and_seldom_otherwise(monkeypatch):
    from types import SimpleNamespace

    from edge_dnn_partition.nodes.core import seals
    from edge_dnn_partition.nodes.core.topics import Topics

    said, timers = [], []

    def timer(_, callback, **__):
        timers.append(callback)
        return SimpleNamespace(reset=lambda: None, cancel=lambda: None)

    publisher = SimpleNamespace(publish=said.append, topic_name='/demo/sessions')
    node = SimpleNamespace(
        create_timer=timer, create_publisher=lambda *_: publisher, create_subscription=lambda *_, **__: None,
        destroy_timer=None, destroy_publisher=None, destroy_subscription=None, resolve_topic_name=lambda topic: topic,
    )  # fmt: skip
    now = [1000.0]
    monkeypatch.setattr(seals.time, 'monotonic', lambda: now[0])
    mine = seals.Seals(node, Topics('demo'), bytes(32), lambda *_: None)
    _, again = timers
    for _ in range(240):  # twenty minutes
        now[0] += 5.0
        again()
    assert 19 <= len(said) <= 21
    said.clear()
    mine._stranger(7, '/demo/plan')
    for _ in range(4):
        now[0] += 5.0
        again()
    assert len(said) == 4
    for _ in range(24):  # it has ended
        now[0] += 5.0
        again()
    assert len(said) <= 4 + 10
