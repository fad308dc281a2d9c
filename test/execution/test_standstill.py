# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A stream does not stand still where its plan could go on, whatever else the source has under way. Time is simulated.

A slow device with the source, and a quick one behind a link that may be cut. Every way in which acceptance was seen to stop has a
case of its own here; the last test mixes them.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_fleet import MODEL, plan_of

from edge_dnn_partition.execution.frames.actions import Accepted, Ended, Forget, Send
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION
from edge_dnn_partition.execution.frames.ledger import DELIVERED, FrameLedger
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.execution.frames.settings import Settings
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.planning.plans.plan import IMAGE

TICK, PERIOD = 0.02, 0.1
HERE, THERE = 0.5, 0.1
"""What the model takes on the slow device, and on the quick one with the link."""
PLANS = {'here': ('pi:pre-3', HERE), 'there': ('cloud:pre-3', THERE)}
INPUTS = FrameInputs({IMAGE: CameraImage(np.zeros(1, np.uint8), 'jpeg'), 'k': np.zeros(1)})


class World:
    """Each device runs one frame at a time; what is sent over a cut link waits there until it is mended or forgotten."""

    def __init__(self, **given):
        self.now, self.version, self.cut, self.loses_shadows = 0.0, 0, False, False
        self.given = given
        self.dispatcher = FrameDispatcher(MODEL, 'pi', FrameLedger(), self, lambda: Settings(**self.given))
        self.queues, self.running = {'pi': [], 'cloud': []}, {}
        self.waiting, self.accepted, self.ended, self.prepared = [], [], [], [HEDGE_VERSION]
        self.begun = {'pi': 0, 'cloud': 0}
        self.ran = []

    def plan(self, where, **changes):
        self.version += 1
        label, seconds = PLANS[where]
        self.prepared.append(self.version)
        return replace(plan_of(label, self.version), **({'latency_seconds': seconds, 'bottleneck_seconds': seconds} | changes))

    def move(self, where, **changes):
        plan = self.plan(where, **changes)
        self.beat()
        self.dispatcher.on_plan(plan, PlanStatus.PROPOSED)
        self.dispatcher.on_plan(plan, PlanStatus.ACTIVE)
        return plan

    def shadow(self, where, **changes):
        plan = self.plan(where, **changes)
        self.beat()
        self.dispatcher.shadows.ask(plan, self.now)

    def beat(self):
        for number, device in enumerate(('pi', 'cloud')):
            self.dispatcher.on_heartbeat(device, number + 1, self.prepared, self.now)

    def reaches(self, plan):
        return True

    def seconds_left(self, frame_number):
        return 0.0

    def run(self, seconds):
        end = round((self.now + seconds) / TICK)
        for tick in range(round(self.now / TICK), end):
            self.now = tick * TICK
            self.beat()
            if tick % round(PERIOD / TICK) == 0:
                self.dispatcher.offer(INPUTS, self.now)
            self.work()
            self.dispatcher.tick(self.now)
            self.carry_out()
        self.now = end * TICK

    def work(self):
        if not self.cut:
            self.queues['cloud'] += self.waiting
            self.waiting = []
        for device, seconds in (('pi', HERE), ('cloud', THERE)):
            if device in self.running and self.running[device][0] <= self.now + 1e-9:
                _, send = self.running.pop(device)
                outputs = {name: np.zeros(1) for name in MODEL.outputs}
                self.dispatcher.on_outputs(send.address, outputs, (), (), self.now)
                self.carry_out()
            if device not in self.running and self.queues[device]:
                send = self.queues[device].pop(0)
                self.ran.append((device, send.number, send.plan.version))
                self.running[device] = (self.now + seconds, send)

    def carry_out(self):
        for action in self.dispatcher.take():
            match action:
                case Accepted(frame):
                    self.accepted.append((self.now, frame.plan_version))
                case Send(number=number) if number >= FIRST_NUMBER and self.loses_shadows:
                    pass
                case Send():
                    here = action.plan.devices == ('pi',)
                    (self.queues['pi'] if here else self.waiting).append(action)
                case Forget(frame_number, _):
                    self.waiting = [send for send in self.waiting if send.number != frame_number]
                case Ended(frame, _):
                    self.ended.append((self.now, frame))
                    self.queues['pi'] = [send for send in self.queues['pi'] if send.number != frame.frame_number]

    def longest(self, begin, end):
        """Return the longest time without an accepted frame."""
        times = [begin, *(at for at, _ in self.accepted if begin < at < end), end]
        return max(after - before for before, after in pairwise(times))


def test_a_shadow_frame_that_shares_nothing_holds_nothing_up():
    world = World()
    world.move('here')
    world.run(5.0)
    world.cut = True
    world.shadow('there', latency_seconds=1.0)
    world.run(5.0)
    assert world.dispatcher.shadows.unanswered == 1
    assert world.longest(5.0, 10.0) < HERE + 3 * TICK
    assert not world.waiting, 'what is left of it would go first once the link is back'


def test_a_shadow_frame_that_shares_a_device_takes_the_turn_of_two_frames_at_most():
    world = World()
    world.move('there')
    world.run(5.0)
    world.loses_shadows = True
    world.shadow('there', latency_seconds=1.0)
    world.run(3.0)
    assert world.dispatcher.shadows.unanswered == 1
    assert world.longest(5.0, 8.0) < 3 * THERE + PERIOD + 3 * TICK


def test_a_shadow_frame_that_nobody_waits_for_may_take_its_time():
    world = World()
    world.move('there')
    world.run(1.0)
    world.shadow('here')
    world.run(2.0)
    assert (world.dispatcher.shadows.run, world.dispatcher.shadows.unanswered) == (1, 0)
    assert world.longest(1.0, 3.0) < PERIOD + 3 * TICK, 'it runs beside the stream'


def test_frames_that_a_dead_link_holds_up_take_no_room_of_a_plan_without_it():
    world = World(max_age=5.0)
    world.move('there', max_in_flight=2)
    world.run(2.0)
    world.cut = True
    world.run(1.0)
    world.move('here', objective='energy')  # under which no frame is sent twice
    world.run(1.9)
    assert world.longest(3.0, 4.9) < HERE + 3 * TICK


def test_overtaken_frames_come_one_at_a_time_and_only_if_they_are_in_time():
    world = World(max_age=1.5)
    world.move('there', max_in_flight=3, bottleneck_seconds=0.02)
    world.run(2.0)
    world.cut = True
    world.run(0.8)
    begun = len(world.ran)
    world.move('here')
    world.run(2.0)
    sent = [number for device, number, _ in world.ran[begun:] if device == 'pi']
    ended = {frame.frame_number: frame.status for _, frame in world.ended}
    assert sent and all(ended.get(number, DELIVERED) == DELIVERED for number in sent), 'a run whose result comes too late'
    assert world.longest(2.8, 4.8) < 2 * HERE + 3 * TICK


def test_no_hedge_begins_where_the_plan_in_force_runs_here():
    world = World(max_age=1.5, hedge=True)
    world.move('there', max_in_flight=3, bottleneck_seconds=0.02)
    world.run(8.0)
    world.cut = True
    world.run(0.4)
    before = world.dispatcher.hedger.started
    world.move('here')
    world.run(3.0)
    assert world.dispatcher.hedger.started <= before + 1
    delivered = [at for at, frame in world.ended if frame.status == DELIVERED and at > 8.4]
    assert min(delivered) < 8.4 + 2 * HERE + 4 * TICK
    assert world.longest(9.4, 11.4) < HERE + 3 * TICK


def test_spacing_by_a_prediction_that_is_too_long_ends_with_the_first_result():
    world = World()
    world.move('there', max_in_flight=2, bottleneck_seconds=3.0, latency_seconds=6.0)
    world.run(4.0)
    assert world.longest(TICK, 4.0) < PERIOD + 3 * TICK


def test_the_obstacle_is_named():
    world = World()
    assert 'no plan' in world.dispatcher.obstacle()
    world.move('here')
    world.run(0.3)
    assert 'busy: 1 frames in flight, bound 1' in world.dispatcher.obstacle()


EVENTS = st.tuples(
    st.sampled_from(['here', 'there', 'cut', 'mend', 'shadow here', 'shadow there']),
    st.sampled_from([0.06, 0.3, 0.9, 2.0]), st.sampled_from([0.05, 0.5, 4.0]), st.integers(1, 3),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(events=st.lists(EVENTS, max_size=12), hedge=st.booleans(), max_age=st.sampled_from([0.0, 1.5]))
def test_a_plan_that_needs_no_link_goes_on_whatever_was_under_way(events, hedge, max_age):
    world = World(max_age=max_age, hedge=hedge and max_age > 0)
    world.move('there')
    for what, seconds, predicted, room in events:
        kind, _, where = what.rpartition(' ')
        if kind == 'shadow':
            world.shadow(where, latency_seconds=predicted)
        elif what in PLANS:
            world.move(what, latency_seconds=predicted, bottleneck_seconds=predicted / room, max_in_flight=room)
        else:
            world.cut = what == 'cut'
        world.run(seconds)
    world.cut = True
    world.shadow('there', latency_seconds=4.0)
    world.run(0.2)
    world.move('here')
    begin = world.now
    world.run(6.0)
    old = 4  # frames that were under way, hedged or not, and the run that is not to be broken off
    assert world.longest(begin + old * HERE, world.now) < 2 * HERE + 4 * TICK
    counts = world.dispatcher.ledger.counts
    assert counts.accepted == counts.delivered + counts.expired + counts.lost + counts.failed + world.dispatcher.ledger.in_flight
