# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that the tests of base.py start as processes: ``python trial_node.py KIND --ros-args …``."""

import sys

from edge_dnn_partition.nodes.core import signals

signals.install()  # as edge_dnn_partition.nodes.__main__ does, before the long imports

import array  # noqa: E402
import ctypes  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

from edge_dnn_partition.msg import Result  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import UInt8MultiArray  # noqa: E402

from edge_dnn_partition.client import MissedResults  # noqa: E402
from edge_dnn_partition.errors import UserError  # noqa: E402
from edge_dnn_partition.nodes.core import qos  # noqa: E402
from edge_dnn_partition.nodes.core.base import FleetNode, Parameter  # noqa: E402
from edge_dnn_partition.nodes.core.process import run_nodes  # noqa: E402
from edge_dnn_partition.nodes.frames.camera import SensorSubscription  # noqa: E402

TENSOR_BYTES = 3_211_264
FRAGMENT_BYTES = 60_000
FRAGMENTS = -(-TENSOR_BYTES // FRAGMENT_BYTES)


def say(text):
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


class Sender(FleetNode):
    """Sends 3.2 MB tensors without end, as fragments with 3 ms between them, from a thread of its own."""

    def __init__(self):
        super().__init__('sender', [Parameter('to', 'receiver', 'device that receives')])

    def setup(self):
        self._halt = threading.Event()
        self._publisher = self.advertise(UInt8MultiArray, self.topics.tensors(self.params['to']), qos.TENSORS)

    def start(self):
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        message = UInt8MultiArray(data=array.array('B', bytes(FRAGMENT_BYTES)))
        while not self._halt.wait(0.003):
            if self._publisher.get_subscription_count():
                self._publisher.publish(message)

    def stop_work(self):
        self._halt.set()

    def stop(self):
        self._halt.set()
        self._thread.join()


class Receiver(FleetNode):
    """Says how many whole tensors came."""

    def __init__(self):
        super().__init__('receiver')

    def setup(self):
        self._fragments = 0
        self.subscribe(UInt8MultiArray, self.topics.tensors(), self._take, qos.TENSORS)

    def _take(self, message):
        assert len(message.data) == FRAGMENT_BYTES
        self._fragments += 1
        if self._fragments % FRAGMENTS == 0:
            say(f'tensor {self._fragments // FRAGMENTS}')


class Ticker(FleetNode):
    """Counts aloud at 20 Hz, and fails in its callback as its parameters say."""

    def __init__(self):
        super().__init__(
            'ticker',
            [
                Parameter('fail_at', 0, 'tick that raises ValueError'),
                Parameter('refuse_at', 0, 'tick that raises UserError'),
                Parameter('block_at', 0, 'tick that never returns'),
                Parameter('die_at', 0, 'tick at which a thread of its own dies'),
                Parameter('seize_at', 0, 'tick that holds the interpreter for ever'),
                Parameter('linger', False, 'leave a thread behind that never ends'),
                Parameter('seize', False, 'hold the interpreter for ever when it is to end'),
                Parameter('setup_fails', 'no', 'with what', choices=('no', 'user', 'bug')),
                Parameter('raw', False, 'whether the failing callback goes without the guard'),
            ],
        )

    def setup(self):
        if self.params['setup_fails'] == 'user':
            raise UserError('the model is missing: give one')
        if self.params['setup_fails'] == 'bug':
            raise ZeroDivisionError('a bug in setup')
        self._ticks = 0
        if self.params['linger']:
            threading.Thread(target=threading.Event().wait, daemon=False).start()
        self.every(0.05, self._tick)
        if self.params['raw']:
            self.create_timer(0.1, self._fail)

    def stop_work(self, seize=False):
        if seize or self.params['seize']:
            ctypes.PyDLL(None).pause()  # unlike CDLL, without letting go of the interpreter's lock

    def start(self):
        say('start')

    def stop(self):
        say('stop')

    def teardown(self):
        say('teardown')

    def _tick(self):
        self._ticks += 1
        say(f'tick {self._ticks}')
        if self._ticks == self.params['seize_at']:
            self.stop_work(seize=True)
        if self._ticks == self.params['block_at']:
            threading.Event().wait()
        if self._ticks == self.params['die_at']:
            threading.Thread(target=self._fail, name='helper').start()
        if self._ticks == self.params['refuse_at']:
            raise UserError('this input is no good')
        if self._ticks == self.params['fail_at']:
            self._fail()

    def _fail(self):
        raise ValueError('a bug in a callback')


class Watcher(FleetNode):
    """Says how long each image is that a camera sends as pixels."""

    def __init__(self):
        super().__init__('watcher')

    def setup(self):
        SensorSubscription(self, Image, 'image', lambda message: say(f'image of {len(message.data)} bytes'), follows=True)


class Reader(FleetNode):
    """Says which results come, and how many it has missed."""

    def __init__(self):
        super().__init__('reader', per_device=False)

    def setup(self):
        self._missed = MissedResults()
        self.subscribe(Result, self.topics.result, self._take, qos.RESULT)

    def _take(self, message):
        self._missed.received(message)
        say(f'result {message.sequence}, missed {self._missed.missed}')


class Busy(FleetNode):
    """Works in a callback until it is told to end, as a worker in an inference."""

    def __init__(self):
        super().__init__('busy')

    def setup(self):
        self._halt = threading.Event()
        self.every(0.05, self._work)

    def _work(self):
        say('working')
        while not self._halt.is_set():
            time.sleep(0.01)
        say('work stopped')

    def stop_work(self):
        self._halt.set()


KINDS = {'sender': Sender, 'receiver': Receiver, 'ticker': Ticker, 'watcher': Watcher, 'busy': Busy, 'reader': Reader}

if __name__ == '__main__':
    signals.leave(run_nodes(lambda: [KINDS[sys.argv[1]]], sys.argv[2:]))
