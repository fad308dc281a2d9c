# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The protocol of a model that carries state: each result is what the whole model gives on the frames delivered before it.

Plans switch, workers die one after the other, frames fail at any stage, are reset, lost and sent again, and messages come late,
twice, in any order.
"""

from pathlib import Path

import numpy as np
import onnx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from protocol_fleet import LARGEST, layer, plan_of
from test_protocol import ERRORS, Protocol

from edge_dnn_partition.execution.frames.ledger import DELIVERED, LOST, Frame
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER
from edge_dnn_partition.execution.frames.state_tracker import StateTracker
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.tensor_info import TensorInfo
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.planning.plans.plan import IMAGE

STATES = {'s': 't', 'u': 'v', 'w': 'n'}
LAYERS = (layer(0, ('x', 's'), ('a', 't')), layer(1, ('a', 'k'), ('b',)), layer(2, ('a', 'b', 'u'), ('c', 'v')), layer(3, ('w',), ('d', 'n')))
TENSORS = {name: TensorInfo(name, 7, (1,)) for name in 'xksuwabcdtvn'}
STATEFUL = Model(
    'net', 'a' * 64, 'key', Path(), Path(), LAYERS, TENSORS, ('x', 'k', 's', 'u', 'w'), ('b', 'c', 'd', 't', 'v', 'n'), onnx.ModelProto(), (), states=STATES
)
INITIAL = {'s': 3, 'u': 5, 'w': 7}


def whole_model(x, k, state):
    """Return what the model gives, and the state for the next frame."""
    a = 31 * (x + state['s']) % LARGEST
    b = 31 * (a + k) % LARGEST + 1
    c = 31 * (a + b + state['u']) % LARGEST + 2
    d = 31 * state['w'] % LARGEST + 3
    return {'b': b, 'c': c, 'd': d}, {'s': a, 'u': c, 'w': d}


class StatefulProtocol(Protocol):
    model = STATEFUL
    hedge = tail_follows = shadow_plan = shadow_frame = None

    def __init__(self):
        self.earlier = {}  # the state of frames under way when their frame source was killed
        super().__init__()

    def tracker(self):
        self.state = INITIAL  # a frame source that starts begins anew
        small = {name: np.array([value]) for name, value in INITIAL.items()}
        tracker = StateTracker(STATEFUL, small, lambda: self.most)
        tracker._small = False
        return tracker

    def check(self, frame):
        self.ended.append(frame.frame_number)
        inputs, earlier = self.inputs_of.pop(frame.frame_number), self.earlier.get(frame.frame_number)
        if frame.status == LOST:
            assert earlier is not None
            self.lost += 1
        if frame.status != DELIVERED:
            return
        before = INITIAL if inputs.reset_state else earlier or self.state
        expected, state = whole_model(int(inputs.image.data[0]), int(inputs.values['k'][0]), before)
        self.state = self.state if earlier else state
        assert {name: int(v[0]) for name, v in frame.outputs.items()} == expected, 'the state is not that of the frames before'
        sendings = {(timing.queue_seconds, timing.decode_seconds) for timing in frame.stages}
        assert sendings == {(frame.attempt, frame.plan_version)}, 'two sendings are mixed'

    @precondition(lambda self: self.accepts())
    @rule(count=st.integers(1, 3), most=st.integers(1, 4), reset=st.sampled_from([False, False, False, True]))
    def images(self, count, most, reset):
        self.most = most  # frames between two snapshots
        for _ in range(count):
            number = self.ledger.counts.offered % 200 + 1
            image = CameraImage(np.array([number], np.uint8), 'jpeg')
            self.dispatcher.offer(FrameInputs({IMAGE: image, 'k': np.array([7 * number % 100])}, reset_state=reset), self.now)
            self.carry_out()

    @rule(journal=st.booleans())
    def source_is_killed_and_started(self, journal):
        self.earlier = dict.fromkeys((frame.frame_number for frame in self.ledger.unfinished), self.state) | self.earlier
        super().source_is_killed_and_started(journal)
        self.not_kept = self.earlier.keys()

    def repeat_overdue(self):
        self.dispatcher.tick(self.now)
        self.carry_out()
        under_way = {frame.frame_number for frame in self.ledger.unfinished} - self.earlier.keys()
        assert len(under_way) <= 1, 'frames of one state run at the same time'

    @precondition(lambda self: self.accepts())
    @rule(count=st.integers(2, 6), most=st.integers(3, 8), fails=st.none() | st.tuples(st.integers(0, 5), st.integers(0, 2)),
          reset=st.integers(0, 12))  # fmt: skip
    def many_frames(self, count, most, fails, reset):
        """Frames come one after the other, of which one fails at one of its stages: it does not change the state."""
        for number in range(count):
            self.sign_of_life('all')
            self.images(1, most, number == reset)
            stages = 0
            while self.air or any(worker.tasks or worker.jobs for worker in self.workers.values()):
                busy = next((device for device, worker in self.workers.items() if worker.jobs), None)
                if busy is None:
                    self.quiesce_messages()
                    continue
                self.run(busy, 0, ERRORS[0] if (number, stages) == fails else None)
                stages += 1
            self.time_passes(0.2)
            self.quiesce()

    def quiesce_messages(self):
        """Let one message arrive, or one plan be prepared."""
        if self.air:
            self.deliver(self.air.pop(0))
        else:
            self.work(next(device for device, worker in self.workers.items() if worker.tasks))


StatefulProtocol.TestCase.settings = settings(max_examples=250, stateful_step_count=60, deadline=None, derandomize=True)
TestStatefulProtocol = StatefulProtocol.TestCase


def test_replays_happen():
    """The machine above goes through what it is for: a state that is brought back by frames that run again."""
    fleet = StatefulProtocol()
    fleet.sign_of_life('all')
    fleet.images(3, 10, False)
    for _ in range(3):
        fleet.quiesce()
        fleet.time_passes(1.0)
    assert fleet.ended == [1, 2, 3]
    fleet.propose_to('cloud:pre-2 jetson:2-3')
    fleet.quiesce()
    fleet.sign_of_life('all')
    fleet.images(1, 10, False)
    replays = [m for m in fleet.air if m[1] == 'tensors' and m[2][0].frame_number >= FIRST_NUMBER]
    assert replays, 'no snapshot was taken, so the first frame runs again'
    fleet.quiesce()
    fleet.time_passes(0.1)
    assert fleet.ended == [1, 2, 3, 4]
    assert fleet.dispatcher.states.replayed == 3


def outputs(*, whole):
    """Return the outputs of a frame, with its state or without."""
    made = {name: np.array([5]) for name in STATEFUL.outputs}
    return made if whole else made | {name: np.empty(0, np.int64) for name in STATES.values()}


def begun(tracker, number, plan, homes, now=0.0):
    frame = Frame(number, FrameInputs({'k': np.array([number])}), now, plan.version)
    return frame, tracker.begin(frame, plan, homes, now, 3.0, moving=False)


def ended(tracker, frame, *, whole=False):
    frame.outputs, frame.status = outputs(whole=whole), DELIVERED
    tracker.on_result(frame)


def test_a_replay_that_a_result_has_overtaken_is_let_go():
    """A frame is sent again under another plan, for which frames before it run again, and then comes from its first way."""
    tracker = StateTracker(STATEFUL, {name: np.array([0]) for name in STATES}, lambda: 2)
    tracker._small = False
    old, new = plan_of('pi:pre-3', 1, STATEFUL), plan_of('cloud:pre-3', 2, STATEFUL)
    here, there = {'s': ('pi', 1)}, {'s': ('cloud', 1)}
    ended(tracker, begun(tracker, 1, old, here)[0])
    second, sent = begun(tracker, 2, old, here)
    assert (sent.after, sent.snapshot) == (1, True)
    replay = tracker.begin(second, new, there, 1.0, 3.0, moving=False)
    assert replay.number >= FIRST_NUMBER and replay.after == 0
    second.plan_version = old.version
    ended(tracker, second, whole=True)
    third, sent = begun(tracker, 3, new, there, 1.1)
    assert sent.number == 3 and sent.after == 0 and int(sent.inputs.values['s'][0]) == 5, 'it brings the snapshot'
    assert tracker.on_replayed(replay.number, outputs(whole=False), 1.2) is None
    ended(tracker, third)
    assert begun(tracker, 4, new, there, 1.3)[1].after == sent.run


def test_a_replay_that_stands_still_begins_anew():
    tracker = StateTracker(STATEFUL, {name: np.array([0]) for name in STATES}, lambda: 10)
    tracker._small = False
    plan = plan_of('pi:pre-3', 1, STATEFUL)
    ended(tracker, begun(tracker, 1, plan, {'s': ('pi', 1)})[0])
    first, replay = begun(tracker, 2, plan, {'s': ('pi', 2)}, 1.0)
    first.status = 'expired'
    assert begun(tracker, 3, plan, {'s': ('pi', 2)}, 2.0)[1] is None, 'it waits for the replay'
    _, again = begun(tracker, 4, plan, {'s': ('pi', 2)}, 9.0)
    assert again.number > replay.number and again.after == 0
    assert tracker.on_replayed(replay.number, outputs(whole=False), 9.1) is None, 'the one before is ignored'
    sent = tracker.on_replayed(again.number, outputs(whole=False), 9.2)
    assert (sent.number, sent.after) == (4, again.run)


def test_a_result_of_an_earlier_frame_source_leaves_the_state_alone():
    tracker = StateTracker(STATEFUL, {name: np.array([0]) for name in STATES}, lambda: 10)
    frame = Frame(1, FrameInputs(), 0.0, 7, attempt=1000)  # its inputs were not kept
    ended(tracker, frame, whole=True)
    assert set(frame.outputs) == {'b', 'c', 'd'}
    _, sent = begun(tracker, 2, plan_of('pi:pre-3', 1, STATEFUL), {'s': ('pi', 1)})
    assert sent.number == 2 and int(sent.inputs.values['s'][0]) == 0
