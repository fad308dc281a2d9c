# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy streamed through a fleet in real processes, over a link that follows a trace: when chunks arrive."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.inputs.frame import CameraImage

from .arm_motion import HERTZ, Arrival, Trace, path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

ARM, SERVER = 'arm', 'server'
SLOWDOWN: Final = 12.0
JOINTS: Final = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper')
SOURCE: Final = {'max_age': 1.5, 'hedge': True}
"""A chunk lasts 1.67 s; an older result is of no use. One frame at a time, as the plan says: two would queue on the board."""
_IMAGE_EVERY: Final = 3
_PATIENCE_SECONDS: Final = 150.0


def fleet_file(folder: Path, model: Path, side: int, first: tuple[float, float]) -> Path:
    """Write the fleet of examples/policy_arm, played on this machine; return its file.

    :param first: rate (bytes per second) and delay (seconds) of the link at the begin.
    """
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump({
        'size': [side, side], 'layout': 'NCHW', 'colour': 'rgb', 'resize': 'stretch', 'mean': [0.485, 0.456, 0.406],
        'std': [0.229, 0.224, 0.225],
    }))  # fmt: skip
    image = {'kind': 'image', 'preprocessing': str(settings)}
    file = folder / 'fleet.yaml'
    file.write_text(json.dumps({
        'fleet': 'policy', 'source': ARM,
        'model': {'path': str(model), 'postprocessing': {
            'kind': 'action_chunk', 'joints': list(JOINTS), 'actions_per_second': HERTZ, 'blend': '300 ms'}},
        'inputs': {
            'front': {**image, 'topic': 'front/compressed'}, 'wrist': {**image, 'topic': 'wrist/compressed'},
            'state': {'kind': 'message', 'topic': '/joint_states', 'type': 'sensor_msgs/msg/JointState', 'field': 'position',
                      'names': list(JOINTS)},
        },
        'devices': {ARM: {'emulate': {'slowdown': SLOWDOWN}}, SERVER: {'emulate': {'slowdown': 1.0}}},
        'links': [{'between': [ARM, SERVER], 'rate': f'{8 * first[0]} bit/s', 'delay': f'{first[1]} s', 'emulate': True}],
        'parameters': {'worker': {'profile_runs': 2}, 'frame_source': SOURCE},
    }))  # fmt: skip
    return file


class ArmSensors:
    """Publishes two cameras' images at 10 Hz and the joints' state at 30 Hz, from a thread of its own."""

    def __init__(self, client: FleetClient, images: Sequence[CameraImage]) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Header

        from edge_dnn_partition.nodes.conversions.camera_messages import compressed_message

        node = client.node
        from sensor_msgs.msg import CompressedImage

        cameras = [node.create_publisher(CompressedImage, f'/policy/{ARM}/{name}/compressed', 2) for name in ('front', 'wrist')]
        states = node.create_publisher(JointState, '/joint_states', 10)
        self._ended = threading.Event()

        def run() -> None:
            begin, tick = time.monotonic(), 0
            while not self._ended.wait(max(0.0, begin + tick / HERTZ - time.monotonic())):
                header = Header(stamp=node.get_clock().now().to_msg())
                states.publish(JointState(header=header, name=list(JOINTS), position=path(tick / HERTZ)[0].tolist()))
                if tick % _IMAGE_EVERY == 0:
                    for number, camera in enumerate(cameras):
                        image = images[(tick // _IMAGE_EVERY + number) % len(images)]
                        camera.publish(compressed_message(image.data, image.encoding, header))
                tick += 1

        self._thread = threading.Thread(target=run, name='arm', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join(2.0)


@contextmanager
def _running(file: Path, images: Sequence[CameraImage], log: list[str]) -> Iterator[FleetClient]:
    from edge_dnn_partition.deployment.processes import fleet_processes
    from edge_dnn_partition.deployment.supervisor import Supervisor
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = load_fleet(file)
    with Supervisor(dict(os.environ), lambda label, line: log.append(f'{label}: {line}')) as supervisor:
        for process in fleet_processes(fleet, file):
            supervisor.start(process)
        with FleetClient(fleet, name='arm') as client:
            sensors = ArmSensors(client, images)
            try:
                yield client
            finally:
                sensors.stop()


def run(
    file: Path, images: Sequence[CameraImage], trace: Trace, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Stream for so many seconds over a link that follows a trace.

    :return: ``arrivals`` of chunks, counters of frames, ``plans`` with the time of each, ``results``: when, under which plan, its
        latency, whether in time.
    :raises UserError: if the fleet does not come up.
    """
    from trajectory_msgs.msg import JointTrajectory

    from edge_dnn_partition.nodes.core import qos

    found: list[tuple[float, float]] = []
    log: list[str] = []

    def on_trajectory(message: JointTrajectory) -> None:
        found.append((message.header.stamp.sec + message.header.stamp.nanosec * 1e-9, time.time()))

    with _running(file, images, log) as client:
        client.node.create_subscription(JointTrajectory, client.topics.actions, on_trajectory, qos.ACTIONS)
        try:
            client.wait_for(lambda: len(found) >= 20, _PATIENCE_SECONDS, 'trajectories')
        except Exception:
            say('\n'.join(log[-30:]))
            raise
        begin, steady = time.time(), time.monotonic()
        before = client.news.status
        for at, rate, delay in trace:
            time.sleep(max(0.0, steady + at - time.monotonic()))
            client.emulate({}, {(ARM, SERVER): (rate, delay)})
            say(f'{at:g} s: {8e-6 * rate:g} Mbit/s, {1e3 * delay:g} ms; plan {client.plan.label() if client.plan else "none"}')
        time.sleep(max(0.0, steady + seconds - time.monotonic()))
        after = client.news.status
        plans = [[at - steady, plan.label()] for at, plan in client.news.plans]
        frames = [frame for frame in client.news.frames if frame.at >= steady]
    assert before is not None
    assert after is not None
    counters = {key: getattr(after, key) - getattr(before, key) for key in ('accepted', 'delivered', 'expired', 'lost', 'failed')}
    counters |= {key: getattr(after, key) - getattr(before, key) for key in ('hedged', 'hedge_won')}
    return {
        'arrivals': [Arrival(observed - begin, arrived - begin) for observed, arrived in found if arrived >= begin],
        'frames': counters, 'plans': plans,
        'results': [[frame.at - steady, frame.plan_version, frame.latency_seconds, frame.delivered] for frame in frames],
    }  # fmt: skip
