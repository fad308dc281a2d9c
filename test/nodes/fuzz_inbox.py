# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Sends hostile fragments and frames to a real inbox until the time is up: ``fuzz_inbox.py [SECONDS] [SEED]``.

It ends with an error as soon as a frame is lost, delivered twice or changed, or memory grows without bound. The figures
of a run stand in docs/transport.md.
"""

import os
import sys
import time

import numpy as np
from hop import Hop
from hostile import Hostile

HOSTILE_A_ROUND = 40
MOST_BYTES = 4_000_000
OURS = 0x5A5A5A5A5A << 16
"""Frames that are not hostile are numbered from here: no changed byte or two makes another number one of these."""


class Trial:
    """Rounds of hostile fragments, with a frame in the midst of each.

    :param seed: of all that is random.
    """

    def __init__(self, context, seed):
        from edge_dnn_partition.msg import TensorFragment

        from edge_dnn_partition.nodes.core import qos

        self._hop = Hop(context, 'pi', 'jetson', max_bytes=MOST_BYTES)
        self._hostile = Hostile(seed, 'pi', 2 * MOST_BYTES)
        self._random = np.random.default_rng(seed)
        self._publisher = self._hop.ends[0].create_publisher(TensorFragment, '/hop/jetson/tensors', qos.TENSORS)
        self.frames = 0
        self.hostile = 0
        self._hop.discover()
        self._hop.spin_until(lambda: self._publisher.get_subscription_count() > 0)

    @property
    def refused(self):
        """How often the inbox refused something."""
        return sum(self._hop.ends[1].refused.values())

    def round(self):
        """Send a frame among hostile fragments, and wait for it."""
        frame = OURS + self.frames
        tensor = self._random.integers(0, 256, self._random.choice((1, 5_000, 200_000, 1_000_000)), dtype=np.uint8)
        at = self._random.integers(HOSTILE_A_ROUND)
        for number in range(HOSTILE_A_ROUND):
            if number == at:
                self._hop.send(frame, {'t': tensor})
            self._publisher.publish(self._hostile.message())
            self.hostile += 1
            self._hop.spin(0.001)
        self._hop.spin_until(lambda: any(number == frame for number, _ in self._hop.got))
        ours = [(number, arrays) for number, arrays in self._hop.got if number >> 16 == OURS >> 16]
        assert [number for number, _ in ours] == [frame], (frame - OURS, [number - OURS for number, _ in ours])
        np.testing.assert_array_equal(ours[0][1]['t'], tensor)
        self._hop.got.clear()
        self._hop.acks.clear()
        assert self._hop.inbox.held_bytes <= MOST_BYTES
        self.frames += 1

    def finish(self):
        """Wait until every frame's acknowledgement is there, and see that nothing came twice."""
        self._hop.spin_until(lambda: self._hop.sender.bytes_waiting == 0)
        assert not [number for number, _ in self._hop.got if number >> 16 == OURS >> 16]

    def end(self):
        """Let the nodes go."""
        self._hop.end()


def _resident_bytes():
    with open('/proc/self/statm', encoding='ascii') as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def main(seconds=600.0, seed=0):
    """Fuzz for so long, and say what came of it."""
    import rclpy

    from edge_dnn_partition import ros_env

    ros_env.prepare()
    context = rclpy.Context()
    rclpy.init(context=context)
    trial = Trial(context, seed)
    begin, settled = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        trial.round()
        if trial.frames == 50:
            settled = _resident_bytes()
        if trial.frames % 100 == 0:
            print(f'{time.monotonic() - begin:.0f} s: {trial.hostile} hostile fragments, {trial.refused} refused, '
                  f'{trial.frames} frames whole, {_resident_bytes() / 1e6:.0f} MB', flush=True)  # fmt: skip
    trial.finish()
    trial.end()
    context.try_shutdown()
    grown = _resident_bytes() - settled
    print(f'{trial.hostile} hostile fragments, {trial.refused} refused; {trial.frames} of {trial.frames} frames came whole and '
          f'once; memory grew by {grown / 1e6:.1f} MB after the first 50 frames')  # fmt: skip
    return 0 if grown < 50e6 else 1


if __name__ == '__main__':
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
