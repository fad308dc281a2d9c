# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Devices that say what devices say and do no work, for ``bench scale``: ``python crowd_voices.py FLEET DEVICES``.

Each describes itself, publishes the heartbeats of worker and monitor, telemetry, energy and a profile as often as the real nodes,
answers plans that name it, and leaves and joins again as told. The source also reports frames as the plan in force would run them.
The scheduler that listens is a real one. Eight share a DDS participant, as in footprint_ghosts.py. Reads lines from standard input:
``churn SECONDS`` lets one device leave and another join each so many seconds, ``count`` prints what was said and heard so far.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

IN_A_PARTICIPANT: Final = 8
BEAT_SECONDS: Final = 0.25
"""Of a worker without frames; one with frames beats every 0.1 s, as the frame source does."""
_BUSY_BEAT_SECONDS: Final = 0.1
_MONITOR_SECONDS: Final = 0.5
_ENERGY_SECONDS: Final = 1.0
_FRAME_SECONDS: Final = 0.2
_AWAY_SECONDS: Final = 4.0
_DRIFT_SECONDS: Final = 5.0
"""So often a device has measured its links anew."""
_SEED: Final = 5


class Voice:
    """What one device says.

    :param publish: takes a topic's name among those of `Crowd` and a message.
    """

    def __init__(self, name: str, peers: list[str], profile: Any, factor: float, publish: Callable[[str, Any], None]) -> None:
        self.name, self.peers, self.factor, self.publish = name, peers, factor, publish
        self.profile, self.random = profile.scaled(factor), random.Random(name)
        self.present, self.incarnation, self.versions = False, 0, list[int]()
        self.active, self.scheduler = 0, 0
        self._rates = [10 ** self.random.uniform(6.0, 7.5) for _ in peers]

    def join(self) -> None:
        """Describe the device, and say how fast it is."""
        from edge_dnn_partition.msg import DeviceDescription

        from edge_dnn_partition.nodes.conversions.plan_messages import profile_message

        self.incarnation, self.present, self.versions = self.random.getrandbits(63), True, []
        self.publish('devices', DeviceDescription(
            device=self.name, incarnation=self.incarnation, entry=json.dumps({'threads': 2}), cores=2, memory_bytes=2e9,
            machine='aarch64', providers=['CPUExecutionProvider'],
        ))  # fmt: skip
        self.publish('profile', profile_message(self.profile, self.name))

    def leave(self) -> None:
        """Say that it leaves, and nothing more."""
        from edge_dnn_partition.msg import DeviceDescription

        self.present = False
        self.publish('devices', DeviceDescription(device=self.name, incarnation=self.incarnation, leaving=True))

    def beat(self, node: str, sha256: str, frames: int = 0) -> Any:
        """Publish a heartbeat, and return it."""
        from edge_dnn_partition.msg import Heartbeat

        message = Heartbeat(device=self.name, node=node, incarnation=self.incarnation, model_sha256=sha256)
        message.speed_factor = message.process_cpu_percent = float('nan')
        now = time.time_ns()
        message.stamp.sec, message.stamp.nanosec = divmod(now, 10**9)
        if node != 'device_monitor':
            message.active_version, message.active_scheduler, message.frames = self.active, self.scheduler, frames
            message.last_version = max([self.active, *self.versions])
        if node == 'worker':
            message.plan_versions = self.versions
            message.speed_factor, message.resident_bytes = 1.0, 100 << 20
            message.peers, message.bytes_per_second = self.peers, self._rates
            message.latency_seconds = [0.002] * len(self.peers)
            message.age_seconds = [now * 1e-9 % _DRIFT_SECONDS] * len(self.peers)
        self.publish('heartbeat', message)
        return message

    def drift(self) -> None:
        """Find links a little quicker or slower than before."""
        self._rates = [rate * self.random.uniform(0.98, 1.02) for rate in self._rates]

    def observe(self) -> None:
        """Publish telemetry."""
        from edge_dnn_partition.msg import Telemetry

        unknown = {field: float('nan') for field, kind in Telemetry.get_fields_and_field_types().items() if kind == 'double'}
        message = Telemetry(**unknown | {
            'device': self.name, 'incarnation': self.incarnation, 'cpu_percent': self.random.uniform(1, 30)
        })  # fmt: skip
        message.memory_total_bytes, message.memory_available_bytes, message.temperature_celsius = 2e9, 1e9, 50.0
        message.cpu_percent_per_core = [self.random.uniform(1, 30) for _ in range(2)]
        self.publish('telemetry', message)

    def account(self) -> None:
        """Publish energy."""
        from edge_dnn_partition.msg import DeviceEnergy

        watts = self.random.uniform(2, 6)
        self.publish('energy', DeviceEnergy(device=self.name, incarnation=self.incarnation, kind='modelled', watts=watts))

    def prepared(self, version: int, scheduler: int, state: int) -> None:
        """Say how far it is with its part of a plan."""
        from edge_dnn_partition.msg import StageState

        self.publish('plan_state', StageState(
            state=state, device=self.name, incarnation=self.incarnation, plan_version=version, scheduler=scheduler, seconds=0.05
        ))  # fmt: skip


class Crowd:
    """All devices of a fleet, and its source, which is the first."""

    def __init__(self, topics: Any, count: int) -> None:
        import rclpy
        from edge_dnn_partition.benchmarks.scale_fleet import ground
        from rclpy.signals import SignalHandlerOptions

        from edge_dnn_partition import msg
        from edge_dnn_partition.nodes.core import qos
        from edge_dnn_partition.transport.neighbours import FEW

        found = ground()
        self._sha256 = found.model.sha256
        self._due: list[tuple[float, int, Callable[[], float | None]]] = []
        self._order, self._lock = itertools.count(), threading.RLock()
        self._plan: Any = None
        self._last: Any = None
        self._frame = time.time_ns() // 1_000_000
        self.said: dict[str, list[int]] = {}
        self.heard: dict[str, list[int]] = {}
        self.joins = self.leaves = 0
        self.left_at = float('nan')
        self.reactions: list[float] = []
        kinds = {
            'heartbeat': (msg.Heartbeat, qos.HEARTBEAT), 'telemetry': (msg.Telemetry, qos.TELEMETRY),
            'energy': (msg.DeviceEnergy, qos.TELEMETRY), 'profile': (msg.Profile, qos.PROFILE),
            'devices': (msg.DeviceDescription, qos.DEVICES),
            'plan_state': (msg.StageState, qos.PLAN_STATE), 'frame_report': (msg.FrameReport, qos.RESULT),
            'source_status': (msg.SourceStatus, qos.STATE),
        }  # fmt: skip
        names = [f'd{number}' for number in range(count)]
        slow = random.Random(_SEED)
        self.voices: dict[str, Voice] = {}
        self._kept, node = [], None
        for number, name in enumerate(names):
            if number % IN_A_PARTICIPANT == 0:
                context = rclpy.Context()
                rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
                node = rclpy.create_node('crowd', namespace=f'/{topics.fleet}/{name}', context=context,
                                         start_parameter_services=False, enable_rosout=False)  # fmt: skip
                self._kept.append((context, node))
            assert node is not None
            publishers = {
                leaf: node.create_publisher(kind, getattr(topics, leaf), profile) for leaf, (kind, profile) in kinds.items()
                if name == names[0] or leaf not in ('frame_report', 'source_status')
            }  # fmt: skip
            peers = names[1:] if number == 0 else [names[0], *(names[(number + k) % count] for k in range(1, FEW + 1))]
            peers = [peer for peer in dict.fromkeys(peers) if peer != name]
            factor = 10.0 if number == 0 else 10 ** slow.uniform(0.0, 1.0)
            self.voices[name] = Voice(name, peers, found.profile, factor, partial(self._publish, publishers))
        self.source = self.voices[names[0]]
        self.node = rclpy.create_node('crowd', namespace=f'/{topics.fleet}')
        self.node.create_subscription(msg.Plan, topics.plan, self._on_plan, qos.PLAN)
        for leaf, (kind, profile) in {  # what every worker hears
            'plan': (msg.Plan, qos.PLAN), 'shadow': (msg.Plan, qos.SHADOW), 'exploration': (msg.Exploration, qos.EXPLORATION),
        }.items():  # fmt: skip
            self.node.create_subscription(kind, getattr(topics, leaf), partial(self._count, leaf), profile, raw=True)

    def _publish(self, publishers: dict[str, Any], leaf: str, message: Any) -> None:
        self.said.setdefault(leaf, [0])[0] += 1
        publishers[leaf].publish(message)

    def _count(self, leaf: str, raw: bytes) -> None:
        counts = self.heard.setdefault(leaf, [0, 0])
        counts[0] += 1
        counts[1] += len(raw)

    # What is said in turn -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let all join, one after the other within a few seconds, and speak."""
        begin = time.monotonic()
        for number, voice in enumerate(self.voices.values()):
            self.at(begin + 0.02 * number, partial(self._join, voice))
        self.at(begin + 1.0, self._show_frame)
        threading.Thread(target=self._speak, daemon=True).start()

    def at(self, when: float, action: Callable[[], float | None]) -> None:
        """Do something, and again after as many seconds as it returns."""
        with self._lock:
            heapq.heappush(self._due, (when, next(self._order), action))

    def _join(self, voice: Voice) -> None:
        voice.join()
        self.joins += 1
        if self._last is not None:  # it is latched
            voice.active, voice.scheduler = self._last.version, self._last.scheduler
        now, incarnation = time.monotonic(), voice.incarnation

        def in_turn(seconds: float, say: Callable[[], object]) -> None:
            def say_again() -> float | None:
                if not voice.present or voice.incarnation != incarnation:
                    return None
                say()
                return seconds

            self.at(now + voice.random.uniform(0, seconds), say_again)

        in_turn(_MONITOR_SECONDS, partial(voice.beat, 'device_monitor', ''))
        in_turn(_MONITOR_SECONDS, voice.observe)
        in_turn(_ENERGY_SECONDS, voice.account)
        in_turn(_DRIFT_SECONDS, voice.drift)
        if voice is self.source:
            in_turn(_BUSY_BEAT_SECONDS, partial(voice.beat, 'frame_source', self._sha256))

        def beat() -> float | None:
            if not voice.present or voice.incarnation != incarnation:
                return None
            busy = voice is self.source or voice.active in voice.versions
            voice.beat('worker', self._sha256, int(busy))
            return _BUSY_BEAT_SECONDS if busy else BEAT_SECONDS

        self.at(now + voice.random.uniform(0, BEAT_SECONDS), beat)

    def _leave(self, voice: Voice) -> None:
        in_force = self._plan is not None and voice.name in {stage.device for stage in self._plan.stages}
        if in_force:
            self.left_at, self._plan = time.monotonic(), None
        voice.leave()
        self.leaves += 1
        self.at(time.monotonic() + _AWAY_SECONDS, partial(self._join, voice))

    def churn(self, seconds: float) -> None:
        """Let one device leave each so many seconds, every fourth one of the plan in force; each comes back."""
        turn = itertools.count(1)

        def one_leaves() -> float:
            here = [voice for voice in self.voices.values() if voice.present and voice is not self.source]
            used = {stage.device for stage in self._plan.stages} if self._plan is not None else set()
            chosen = [voice for voice in here if voice.name in used] if next(turn) % 4 == 0 else []
            if here:
                self._leave(random.choice(chosen or here))
            return seconds

        self.at(time.monotonic() + seconds, one_leaves)

    def _show_frame(self) -> float:
        from edge_dnn_partition.msg import FrameReport, SourceStatus, StageTiming

        plan, self._frame = self._plan, self._frame + 1
        if plan is not None:
            stages = []
            for number, stage in enumerate(plan.stages):
                profile = self.voices[stage.device].profile
                ranges = zip(stage.layer_ranges[::2], stage.layer_ranges[1::2], strict=True)
                run = sum(profile.stage_seconds(*ends) for ends in ranges)
                decode = profile.preprocess_seconds if stage.preprocess else 0.0
                stages.append(StageTiming(
                    device=stage.device, stage=number, decode_seconds=decode, run_seconds=run, cpu_seconds=run
                ))  # fmt: skip
            self.source.publish('frame_report', FrameReport(
                frame_number=self._frame, plan_version=plan.version, latency_seconds=plan.latency_seconds, in_flight=1,
                stages=stages,
            ))  # fmt: skip
        if self._frame % 10 == 0:
            self.source.publish('source_status', SourceStatus(
                device=self.source.name, incarnation=self.source.incarnation, image_encoding='jpeg', image_bytes=60_000
            ))  # fmt: skip
        return _FRAME_SECONDS

    # Plans ----------------------------------------------------------------------------------------------------------

    def _on_plan(self, message: Any) -> None:
        """Answer as the workers do; in the speaking thread, since what they say has an order."""
        self.at(time.monotonic(), partial(self._follow, message))

    def _follow(self, message: Any) -> None:
        from edge_dnn_partition.msg import Plan, StageState

        devices = {stage.device for stage in message.stages}
        for name in devices:
            voice = self.voices[name]
            if not voice.present:
                continue
            if message.status == Plan.PROPOSED and message.version not in voice.versions:
                voice.versions = [*voice.versions, message.version]
                voice.beat('worker', self._sha256)
                voice.prepared(message.version, message.scheduler, StageState.READY)
            elif message.status == Plan.DROPPED and message.version in voice.versions:
                voice.versions = [version for version in voice.versions if version != message.version]
                voice.prepared(message.version, message.scheduler, StageState.RELEASED)
        if message.status == Plan.ACTIVE:
            if self.left_at == self.left_at:
                self.reactions.append(time.monotonic() - self.left_at)
                self.left_at = float('nan')
            self._plan = self._last = message
            for voice in self.voices.values():
                if voice.present:
                    voice.active, voice.scheduler = message.version, message.scheduler
                    for version in [version for version in voice.versions if version < message.version]:
                        voice.versions = [other for other in voice.versions if other != version]
                        voice.prepared(version, message.scheduler, StageState.RELEASED)

    def _speak(self) -> None:
        while True:
            with self._lock:
                wait = self._due[0][0] - time.monotonic() if self._due else 0.01
                entry = heapq.heappop(self._due) if self._due and wait <= 0 else None
            if entry is None:
                time.sleep(min(max(wait, 0.0), 0.01))
                continue
            when, _, action = entry
            again = action()
            if again is not None:
                self.at(when + again, action)


def main() -> int:
    """Speak until standard input ends."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from edge_dnn_partition.nodes.core.topics import Topics

    fleet, count = sys.argv[1:]
    rclpy.init(args=[])
    crowd = Crowd(Topics(fleet), int(count))
    executor = SingleThreadedExecutor()
    executor.add_node(crowd.node)
    threading.Thread(target=executor.spin, daemon=True).start()
    crowd.start()
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == 'churn':
            crowd.churn(float(words[0]))
        print(json.dumps({
            'said': sum(counts[0] for counts in crowd.said.values()), 'heard': crowd.heard, 'joins': crowd.joins,
            'leaves': crowd.leaves, 'reactions': crowd.reactions, 'present': sum(v.present for v in crowd.voices.values()),

        }), flush=True)  # fmt: skip
    return 0


if __name__ == '__main__':
    sys.exit(main())
