# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Asking one policy server for actions, as LeRobot's asynchronous inference does: its protocol, in simulated time.

After `robot_client.py` and `policy_server.py` of huggingface/lerobot (August 2026), with their defaults. The client's loop takes
an action from its queue 30 times a second; while half a chunk or less is left it sends an observation. The server keeps the newest
observation, leaves out one of a time step that it has answered and one at which the arm has moved by less than 1 (degree), unless
the queue is empty (`must_go`), and answers a waiting call with a chunk. Of actions with the same number the client takes 0.3
times the old plus 0.7 times the new one. A *blocking* client sends images as pixels, waits in the loop until the server has them,
and gets pickled tensors, as that code does; otherwise images are JPEG, sent from a thread of their own, and actions are numbers.
What is favourable to both: the link loses nothing, TCP resumes at once after an outage, serialising takes no time, and the server's
processor is always free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge_dnn_partition.testbed.link import EmulatedLink

from .arm_motion import HERTZ, STEPS, Arm, Positions, Trace, policy

_STEP_SECONDS: Final = 0.001
_FRAGMENT_BYTES: Final = 16_000
_THRESHOLD: Final = 0.5
_OLD, _NEW = 0.3, 0.7
_CALL_BYTES: Final = 100
_PICKLED_BYTES, _PLAIN_BYTES = 76_000, 4_000
"""Of a chunk: 50 pickled tensors, each with the storage of the whole chunk; the numbers alone."""
_SERVER_WAITS: Final = 2.0
_CUT_BELOW: Final = 1000.0
"""Bytes per second."""
_SIMILAR_RADIANS: Final = float(np.radians(1.0))


@dataclass
class Pipe:
    """One direction of the connection: messages arrive whole, in order."""

    link: EmulatedLink
    _waiting: deque[tuple[int, Callable[[float], None] | None]] = field(default_factory=deque)
    _under_way: deque[tuple[float, Callable[[float], None]]] = field(default_factory=deque)

    def send(self, size: int, arrived: Callable[[float], None]) -> None:
        """Send a message; ``arrived`` is called with the time."""
        while size > _FRAGMENT_BYTES:
            self._waiting.append((_FRAGMENT_BYTES, None))
            size -= _FRAGMENT_BYTES
        self._waiting.append((size, arrived))

    def step(self, now: float) -> None:
        """Do what is due."""
        while self._waiting and self.link.free_at(now) <= now:
            size, arrived = self._waiting.popleft()
            at = self.link.send(now, size)
            if arrived is not None:
                self._under_way.append((at, arrived))
        while self._under_way and self._under_way[0][0] <= now:
            _, arrived = self._under_way.popleft()
            arrived(now)


@dataclass
class _Observation:
    number: int
    at: float
    position: Positions
    must_go: bool


@dataclass
class Server:
    """Answers calls for actions."""

    inference_seconds: float
    newest: _Observation | None = None
    answered: set[int] = field(default_factory=set)
    last: _Observation | None = None
    _called_at: float | None = None
    _busy: tuple[float, _Observation] | None = None

    def observe(self, observation: _Observation) -> None:
        """Keep an observation, or leave it out."""
        fresh = self.last is None or (
            observation.number not in self.answered
            and float(np.linalg.norm(observation.position - self.last.position)) >= _SIMILAR_RADIANS
        )
        if observation.must_go or fresh:
            self.newest = observation

    def call(self, now: float) -> None:
        """Wait for an observation, and answer with its actions."""
        self._called_at = now

    def step(self, now: float, answer: Callable[[_Observation | None], None]) -> None:
        """Do what is due."""
        if self._busy is not None and self._busy[0] <= now:
            answer(self._busy[1])
            self._busy = None
        elif self._called_at is not None and self.newest is not None:
            self.last, self.newest, self._called_at = self.newest, None, None
            self.answered.add(self.last.number)
            self._busy = now + self.inference_seconds, self.last
        elif self._called_at is not None and now - self._called_at >= _SERVER_WAITS:
            self._called_at = None
            answer(None)


@dataclass
class Client:
    """The robot's side.

    :param blocking: its loop waits until an observation has been sent.
    """

    arm: Arm
    up: Pipe
    observation_bytes: int
    blocking: bool
    queue: deque[tuple[int, Positions, float]] = field(default_factory=deque)
    latest: int = -1
    must_go: bool = True
    sent: int = 0
    _due: float = 0.0
    _sending: bool = False

    def step(self, now: float, server: Server, down: Pipe) -> None:
        """Run the control loop, if its next turn is due."""
        if now < self._due or (self.blocking and self._sending):
            return
        self._due = (self._due if now - self._due < _STEP_SECONDS else now) + 1 / HERTZ
        if self.queue:
            self.latest, position, observed_at = self.queue.popleft()
            self.arm.command(now, position, observed_at)
        if len(self.queue) <= _THRESHOLD * STEPS and not self._sending:
            must_go = self.must_go and not self.queue
            self.must_go = self.must_go and not must_go
            observation = _Observation(max(self.latest, 0), now, self.arm.position(now), must_go)
            self._sending = True
            self.sent += 1
            self.up.send(self.observation_bytes, lambda at: self._arrived(observation, server, down))

    def _arrived(self, observation: _Observation, server: Server, down: Pipe) -> None:
        server.observe(observation)
        down.send(_CALL_BYTES, self._confirmed)

    def _confirmed(self, now: float) -> None:
        self._sending = False
        if self.blocking:
            self._due = max(self._due, now)

    def take(self, observation: _Observation) -> None:
        """Blend a chunk into the queue; actions are counted, so late ones are executed late."""
        before = {number: position for number, position, _ in self.queue}
        self.queue.clear()
        for number, position in enumerate(policy(observation.position, observation.at), observation.number):
            if number > self.latest:
                blended = _OLD * before[number] + _NEW * position if number in before else position
                self.queue.append((number, blended, observation.at))
        self.must_go = True


def run(
    trace: Trace, seconds: float, inference_seconds: float, observation_bytes: int, *, blocking: bool
) -> tuple[Arm, Client]:
    """Let an arm be moved for so many seconds over a link; return it and its client."""
    up, down = (Pipe(EmulatedLink(trace[0][1], trace[0][2])) for _ in range(2))
    server, arm = Server(max(inference_seconds, 1 / HERTZ)), Arm()
    client = Client(arm, up, observation_bytes, blocking)
    chunk_bytes = _PICKLED_BYTES if blocking else _PLAIN_BYTES

    def call() -> None:
        up.send(_CALL_BYTES, server.call)

    def answer(observation: _Observation | None) -> None:
        def arrived(_: float) -> None:
            if observation is not None:
                client.take(observation)
            call()

        down.send(_CALL_BYTES if observation is None else chunk_bytes, arrived)

    call()
    changes = deque(trace[1:])
    for number in range(round(seconds / _STEP_SECONDS)):
        now = number * _STEP_SECONDS
        while changes and changes[0][0] <= now:
            _, rate, delay = changes.popleft()
            for pipe in (up, down):
                pipe.link.change(now, rate if rate >= _CUT_BELOW else 0.0, delay)
        up.step(now)
        server.step(now, answer)
        down.step(now)
        client.step(now, server, down)
    return arm, client
