# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Another way of sending stands beside DDS: a link inside the process carries what the frame layer sends and repeats."""

import importlib
import inspect
import math

import numpy as np
import pytest

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.ledger import FrameLedger
from edge_dnn_partition.execution.frames.repetition import Repetition, SourcePlans
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan, StagePlan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.fragments import FRAME, Address
from edge_dnn_partition.transport.link import LinkState, TensorLink
from edge_dnn_partition.transport.tensors import pack
from edge_dnn_partition.transport.timing import HopTime


class InProcessLink:
    """A `TensorLink` by function calls: what is sent is delivered at `deliver`, by priority, unless it is dropped before."""

    def __init__(self, device, ends):
        self._device, self._ends, self._listeners, self._queue, self._targets = device, ends, {}, [], set()
        self.devices = [other for other in ends if other != device]
        ends[device] = self
        self.now = 0.0

    @property
    def bytes_waiting(self):
        return sum(len(received.buffer) for *_, received in self._queue)

    def connect(self, target):
        self._targets.add(target)

    def connected(self, target):
        return target in self._targets and target[1] in self._ends[target[0]]._listeners

    def send(self, target, address, arrays, encodings, *, stages=(), hops=(), encode_seconds=0.0, deadline=math.inf, priority=0):
        if target not in self._targets:
            raise WireError(f'{target[0]} is not connected: connect() it before sending')
        layout, buffer = pack(arrays, encodings)
        number = len(self._queue)
        received = Received(FRAME, self._device, 1, address, number, buffer, layout, stages, hops, encode_seconds, self.now)
        self._queue.append((-priority, number, deadline, target, received))

    def deliver(self):
        for _, _, deadline, (device, to_source), received in sorted(self._queue, key=lambda item: item[:2]):
            if self.now < deadline:
                hop = HopTime(self._device, device, received.address.from_stage, len(received.buffer), 0.0, 0.0, 0)
                self._ends[device]._listeners[to_source](received, hop)
        self._queue.clear()

    def listen(self, to_source, on_message, *, expect=lambda _: None, max_bytes=1 << 30):
        self._listeners[to_source] = on_message

    def forget_frame(self, frame_number, *, late=False):
        self._queue = [item for item in self._queue if item[-1].address.frame_number != frame_number]

    def forget_device(self, device):
        self._queue = [item for item in self._queue if item[3][0] != device]

    def seconds_left(self, frame_number):
        return 0.0

    def states(self):
        return {device: LinkState(1e9, 1e-6, 0.0) for device in self.devices}

    def on_states(self, states):
        pass

    def probe(self, device):
        pass

    def on_exploration(self, worth):
        pass

    def stop(self):
        self._queue.clear()


@pytest.fixture
def ends():
    ends = dict.fromkeys(('pi', 'cloud'))
    return [InProcessLink(name, ends) for name in ends]


def send(link, frame, **how):
    link.send(('cloud', False), Address('m', 1, frame, 0, -1), {'t': np.full(3, frame, np.float32)}, {}, **how)


def listened(link):
    got = []
    link.listen(False, lambda received, hop: got.append((received.address.frame_number, received.views()[0]['t'][0], hop.sender)))
    return got


def interface():
    return [name for name, member in vars(TensorLink).items() if not name.startswith('_') and (callable(member) or
            isinstance(member, property))]  # fmt: skip


@pytest.mark.parametrize('name', ['DdsLink', 'ZenohLink', 'here'])
def test_all_implementations_have_the_whole_interface(name):
    if name == 'here':
        implementation = InProcessLink
    else:
        pytest.importorskip('rclpy')
        pytest.importorskip('edge_dnn_partition.msg')
        if name == 'ZenohLink':
            pytest.importorskip('zenoh')
        module = importlib.import_module(f'edge_dnn_partition.nodes.transport.{name[:-4].lower()}_link')
        implementation = getattr(module, name)
    for method in interface():
        wanted = vars(TensorLink)[method]
        if isinstance(wanted, property):
            continue  # an attribute will do
        assert list(inspect.signature(wanted).parameters) == list(inspect.signature(getattr(implementation, method)).parameters)


def test_messages_arrive_by_priority_and_not_after_their_deadline(ends):
    here, there = ends
    got = listened(there)
    with pytest.raises(WireError, match='not connected'):
        send(here, 1)
    here.connect(('cloud', False))
    assert here.connected(('cloud', False))
    send(here, 1)
    send(here, 2, priority=1)
    send(here, 3, deadline=1.0)
    here.now = 1.0
    here.deliver()
    assert got == [(2, 2.0, 'pi'), (1, 1.0, 'pi')]


def test_the_frame_source_sends_over_any_link(ends):
    pytest.importorskip('rclpy')
    pytest.importorskip('edge_dnn_partition.msg')
    from edge_dnn_partition.execution.stages.hardware import Hardware
    from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
    from edge_dnn_partition.nodes.frames.input_sender import InputSender

    here, there = ends
    got = []
    there.listen(False, lambda received, hop: got.append((received.address.frame_number, bytes(received.views()[0][IMAGE]))))
    here.connect(('cloud', False))
    sender = InputSender(None, here, Hardware())
    plan = Plan(4, 'm', 'pi', 'pi', (StagePlan('cloud', True, ((0, 1),), (IMAGE,), ('y',)),), ())
    try:
        for frame in (7, 8):
            sender.send(FrameInputs.of_image(CameraImage(np.full(3, frame, np.uint8), 'jpeg')), plan, Address('m', 4, frame, 0, -1))
        repetition = Repetition(SourcePlans(), FrameLedger(), here, lambda *_: None, lambda _: None)
        repetition._sender.forget_frame(7)
        here.deliver()
    finally:
        sender.stop()
    assert got == [(8, bytes([8] * 3))]
