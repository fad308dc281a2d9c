# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody on the fleet's network who has no key: noise, forgeries and recordings on the topics by which the fleet lives."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_dnn_partition.cli.testbed import Testbed

FORGED: Final = 'forged by a stranger'
"""The reason that forged plans and failures give."""
FORGED_VALUE: Final = 1e9
"""What stands in forged results."""
_KEPT: Final = 100
_MOST_VERSION: Final = 2**32 - 1


class Stranger:
    """Sends one message after the other within its ``with`` block.

    :param rate: messages a second.
    :param seed: of all that is random; what it records and when it is sent depends on the fleet as well.
    """

    def __init__(self, testbed: Testbed, *, rate: float, seed: int) -> None:
        import rclpy
        from edge_dnn_partition.msg import FrameFailure, Heartbeat, Plan, TensorFragment

        from edge_dnn_partition.nodes.core import qos
        from edge_dnn_partition.nodes.core.process import Spinner

        self._testbed, self._random, self._period = testbed, random.Random(seed), 1 / rate
        self.sent: Counter[str] = Counter()
        topics = testbed.client.topics
        self._node = rclpy.create_node('stranger', context=testbed.client.node.context)
        kinds: dict[str, tuple[Any, Any]] = {
            topics.plan: (Plan, qos.PLAN),
            **dict.fromkeys((topics.heartbeat, topics.stage_heartbeat), (Heartbeat, qos.heartbeat_reader())),
            topics.frame_failure: (FrameFailure, qos.FAILURES), topics.results(testbed.file.source): (TensorFragment, qos.TENSORS),
            **{topics.tensors(device): (TensorFragment, qos.TENSORS) for device in testbed.file.devices},
        }  # fmt: skip
        self._inbox = topics.results(testbed.file.source)
        self._publishers = {topic: self._node.create_publisher(kind, topic, profile) for topic, (kind, profile) in kinds.items()}
        self._heard: dict[str, deque[bytes]] = {topic: deque(maxlen=_KEPT) for topic in kinds}
        for topic, (kind, profile) in kinds.items():
            heard = self._heard[topic]
            self._node.create_subscription(kind, topic, lambda raw, heard=heard: heard.append(raw), profile, raw=True)
        self._spinner = Spinner(self._node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='stranger', daemon=True)

    def __enter__(self) -> Self:
        self._spinner.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(2.0)
        self._spinner.ask_to_end()
        self._spinner.join(2.0)
        self._spinner.executor.shutdown(timeout_sec=0.5)
        self._node.destroy_node()

    def _run(self) -> None:
        acts: tuple[Callable[[], str | None], ...] = (
            self._noise, self._changed, self._recording, self._plan, self._heartbeat, self._failure, self._result)
        while not self._ended.wait(self._period):
            kind = self._random.choice(acts)()
            if kind is not None:
                self.sent[kind] += 1

    def _noise(self) -> str:
        head = self._random.choice((b'', b'\0\1\0\0'))
        self._publishers[self._random.choice(list(self._publishers))].publish(
            head + self._random.randbytes(self._random.randrange(500)))
        return 'noise'

    def _recorded(self) -> tuple[str, bytes] | None:
        topics = [topic for topic, heard in self._heard.items() if heard]
        if not topics:
            return None
        topic = self._random.choice(topics)
        return topic, bytes(self._random.choice(list(self._heard[topic])))

    def _changed(self) -> str | None:
        found = self._recorded()
        if found is None:
            return None
        raw = bytearray(found[1])
        for _ in range(self._random.randrange(1, 5)):
            raw[self._random.randrange(4, len(raw))] = self._random.randrange(256)
        self._publishers[found[0]].publish(bytes(raw))
        return 'changed'

    def _recording(self) -> str | None:
        found = self._recorded()
        if found is None:
            return None
        self._publishers[found[0]].publish(found[1])
        return 'recording'

    def _seal(self) -> bytes:
        return self._random.choice((b'', self._random.randbytes(32)))

    def _plan(self) -> str | None:
        from edge_dnn_partition.msg import Plan, PlanStage

        plan = self._testbed.client.plan
        if plan is None:
            return None
        device = self._random.choice(list(self._testbed.file.devices))
        version = self._random.choice((plan.version + 1, plan.version + 2, _MOST_VERSION))
        layers = len(self._testbed.model.layers)
        stage = PlanStage(device=device, preprocess=True, layer_ranges=[0, layers], inputs=list(self._testbed.model.inputs),
                          outputs=list(self._testbed.model.outputs))  # fmt: skip
        self._publishers[self._testbed.client.topics.plan].publish(Plan(
            status=self._random.choice((Plan.PROPOSED, Plan.ACTIVE, Plan.DROPPED)), version=version, model_sha256=plan.model_sha256,
            source=self._testbed.file.source, sink=self._testbed.file.sink or self._testbed.file.source, stages=[stage],
                max_in_flight=1,
            reason=FORGED, seal=self._seal()))  # fmt: skip
        return 'plan'

    def _heartbeat(self) -> str:
        from edge_dnn_partition.msg import Heartbeat

        topics = self._testbed.client.topics
        self._publishers[self._random.choice((topics.heartbeat, topics.stage_heartbeat))].publish(Heartbeat(
            device=self._random.choice(list(self._testbed.file.devices)), node='worker', incarnation=self._random.getrandbits(63),
            plan_versions=[_MOST_VERSION], active_version=_MOST_VERSION, last_version=_MOST_VERSION, seal=self._seal()))
        return 'heartbeat'

    def _last_frame(self) -> tuple[int, int] | None:
        with self._testbed.client.lock:
            frames = self._testbed.news.frames
            return (frames[-1].frame_number, frames[-1].plan_version) if frames else None

    def _failure(self) -> str | None:
        from edge_dnn_partition.msg import FrameFailure

        last = self._last_frame()
        if last is None:
            return None
        for ahead in range(1, 4):
            self._publishers[self._testbed.client.topics.frame_failure].publish(FrameFailure(
                kind=FrameFailure.DATA, device=self._random.choice(list(self._testbed.file.devices)), frame_number=last[0] + ahead,
                plan_version=last[1], reason=FORGED, seal=self._seal()))  # fmt: skip
        return 'failure'

    def _result(self) -> str | None:
        from edge_dnn_partition.transport.fragment_codec import encode
        from edge_dnn_partition.transport.fragments import FRAME, Address, TensorMessage
        from edge_dnn_partition.transport.tensors import WireTensor

        last, plan = self._last_frame(), self._testbed.client.plan
        if last is None or plan is None:
            return None
        tensors = [self._testbed.model.tensors[name] for name in self._testbed.model.outputs]
        layout, at = [], 0
        for tensor in tensors:
            layout.append(WireTensor(tensor.name, tensor.dtype, tensor.shape, 'raw', at, tensor.bytes))
            at += tensor.bytes
        values = np.full(at // 4, FORGED_VALUE, np.float32)
        for ahead in range(1, 4):
            address = Address(plan.model_sha256, last[1], last[0] + ahead, 0, len(plan.stages) - 1)
            message = TensorMessage(
                FRAME, self._random.choice(list(self._testbed.file.devices)), self._random.getrandbits(63), address,
                self._random.randrange(1, 1 << 31), memoryview(values.tobytes()), tuple(layout),
            )  # fmt: skip
            for index in range(message.count):
                self._publishers[self._inbox].publish(encode(message.fragment(index)))
        return 'result'
