# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The names of all topics and services, built from a node's namespace ``/<fleet>/<device>``.

ROS has no name that is relative to the parent of a namespace, so the parts are
taken apart here, once, and every topic is named absolutely: two fleets share a
network without hearing each other. This module does not import rclpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import UserError

DIAGNOSTICS: Final = '/diagnostics'
"""The one topic that is not a fleet's own: everybody's diagnostics go there (REP 107)."""

NAME_VARIABLE: Final = 'EDGE_DNN_PARTITION_FLEET'
"""The environment variable that names a fleet otherwise than its file does, so that many robots have one file."""

_PART: Final = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


def check_name(name: str, *, what: str = 'name') -> str:
    """Return ``name`` if it can be a part of a ROS name in a fleet.

    :param what: what the name is of, for the error.
    :raises UserError: if it does not match ``[A-Za-z][A-Za-z0-9_]*``.
    """
    if not _PART.fullmatch(name):
        raise UserError(
            f'{what} {name!r} is not a ROS name: write letters, digits and _ only, '
            'a letter first (such as jetson_1)'
        )
    return name


class FleetTopic(property):
    """The name of a topic or service of the whole fleet, with its meaning as docstring."""

    def __init__(self, leaf: str, meaning: str) -> None:
        super().__init__(lambda topics: f'/{topics.fleet}/{leaf}')
        self.__doc__ = meaning

    if TYPE_CHECKING:

        def __get__(self, topics: Any, owner: type | None = None, /) -> str: ...  # type: ignore[override]  # of an instance


@dataclass(frozen=True)
class Topics:
    """The names of one fleet's topics, as one of its devices sees them.

    :param fleet: the fleet's namespace without slashes at its ends; may have several parts (``lab/demo``).
    :param device: this node's own device, or empty for a node of the fleet as a whole (the scheduler).
    :raises UserError: if a part is not a ROS name.
    """

    fleet: str
    device: str = ''

    def __post_init__(self) -> None:
        for part in self.fleet.split('/'):
            check_name(part, what='fleet')
        if self.device:
            check_name(self.device, what='device')

    @classmethod
    def of_device(cls, namespace: str) -> Topics:
        """Return the names for a node of a device, whose namespace is ``/<fleet>/<device>``.

        :raises UserError: if the namespace has fewer than two parts.
        """
        fleet, _, device = namespace.strip('/').rpartition('/')
        if not fleet:
            raise UserError(
                f'the namespace {namespace!r} does not name a fleet and a device: start the node with '
                '--ros-args -r __ns:=/<fleet>/<device>'
            )
        return cls(fleet, device)

    @classmethod
    def of_fleet(cls, namespace: str) -> Topics:
        """Return the names for a node of the fleet as a whole, whose namespace is ``/<fleet>``.

        :raises UserError: if the namespace is the root.
        """
        fleet = namespace.strip('/')
        if not fleet:
            raise UserError('the namespace does not name a fleet: start the node with --ros-args -r __ns:=/<fleet>')
        return cls(fleet)

    def _of_fleet(self, leaf: str) -> str:
        return f'/{self.fleet}/{leaf}'

    def _of_device(self, device: str | None, leaf: str) -> str:
        name = self.device if device is None else device
        return f'/{self.fleet}/{check_name(name, what="device")}/{leaf}'

    plan = FleetTopic('plan', "The scheduler's plans (Plan).")
    shadow = FleetTopic(
        'shadow', 'Plans for shadow frames (Plan): PROPOSED: prepare it; ACTIVE: run one frame under it; DROPPED: let it go.'
    )
    plan_state = FleetTopic('plan_state', 'How far workers are with their part of a plan (StageState).')
    state = FleetTopic('state', "The scheduler's state of the fleet (FleetState).")
    exploration = FleetTopic('exploration', 'Which links and devices are worth probing (Exploration).')
    heartbeat = FleetTopic('heartbeat', 'The heartbeats of all nodes (Heartbeat).')
    stage_heartbeat = FleetTopic(
        'stage_heartbeat', 'The heartbeats of workers that have stages of a plan, for the frame source (Heartbeat).'
    )
    telemetry = FleetTopic('telemetry', 'The state of all hosts (Telemetry).')
    energy = FleetTopic('energy', 'What each device spent its energy on (DeviceEnergy).')
    profile = FleetTopic('profile', 'How fast each device runs the model (Profile).')
    frame_report = FleetTopic('frame_report', 'How each frame went, without its outputs (FrameReport).')
    frame_failure = FleetTopic('frame_failure', 'Which frames workers cannot process, and why (FrameFailure).')
    decision = FleetTopic('decision', 'Why the plan in force is what it is (Decision).')
    calibration = FleetTopic('calibration', 'Predictions of the last change of plan and what was measured (Calibration).')
    source_status = FleetTopic('source_status', "The frame source's counters (SourceStatus).")
    devices = FleetTopic('devices', 'What each device is, and that it leaves (DeviceDescription).')
    blob_requests = FleetTopic('blob_requests', 'Which files and weights devices want, by hash (BlobRequest).')
    description = FleetTopic('description', 'The fleet file and what belongs to it, for devices that join (FleetDescription).')
    sessions = FleetTopic('sessions', 'Which processes live, where the fleet has a key (Sessions).')

    def claim(self, node: str, device: str = '') -> str:
        """Return where the nodes of one kind settle which is active (Claim); under the device's name where each device has one."""
        return self._of_device(device, f'claim/{node}') if device else self._of_fleet(f'claim/{node}')

    def group_sessions(self, group: str) -> str:
        """Return where the schedulers of a group's fleets publish which processes live (Sessions); not the fleet's own."""
        return f'/{check_name(group, what="group")}/sessions'

    emulation = FleetTopic('emulation', 'How slow emulated devices and links are; in the testbed only (Emulation).')
    result = FleetTopic('result', 'The results, for everyone (Result).')
    classification = FleetTopic('classification', 'The best classes of each image (Classification).')
    detections = FleetTopic('detections', 'The objects in each image (Detections).')
    mask = FleetTopic('mask', 'The class or object of each pixel (sensor_msgs/Image, mono8).')
    depth = FleetTopic('depth', 'The distance of each pixel, NaN where it is not known (sensor_msgs/Image, 32FC1).')
    embedding = FleetTopic('embedding', 'The vector that stands for each image (Embedding).')
    vision_classification = FleetTopic(
        'vision/classification', 'The best classes, where vision_msgs is installed (vision_msgs/Classification).'
    )
    vision_detections = FleetTopic(
        'vision/detections', 'The objects, where vision_msgs is installed (vision_msgs/Detection2DArray).'
    )
    actions = FleetTopic('actions', 'What the joints are to do from now on (trajectory_msgs/JointTrajectory).')
    annotated = FleetTopic('annotated', 'Each image with what the model says of it (sensor_msgs/Image).')
    annotated_compressed = FleetTopic('annotated/compressed', 'The same as JPEG (sensor_msgs/CompressedImage).')
    markers = FleetTopic('markers', 'The fleet for rviz (visualization_msgs/MarkerArray).')

    def plot(self, figure: str) -> str:
        """Return the topic of one figure, for plotters (Float64); may have several parts."""
        return self._of_fleet(f'plot/{figure}')

    def shares(self, group: str) -> str:
        """Return where the schedulers of a group's fleets publish what each takes of the hosts (Share); not the fleet's own."""
        return f'/{check_name(group, what="group")}/shares'

    pin_plan = FleetTopic('pin_plan', "The scheduler's service that keeps the fleet to a plan (PinPlan).")
    free_plan = FleetTopic('free_plan', "The scheduler's service that lets the policy decide again (Trigger).")
    replan = FleetTopic('replan', "The scheduler's service that plans and moves at once (Trigger).")
    set_model = FleetTopic('set_model', "The scheduler's service that gives the fleet another model while it streams (SetModel).")
    infer = FleetTopic('infer', "The frame source's service that runs one image, or tensors by name, through the fleet (Infer).")

    def profile_again(self, device: str = '') -> str:
        """Return the service that profiles again: the scheduler's (ProfileAgain), or a device's worker's (Trigger)."""
        return self._of_device(device, 'profile_again') if device else self._of_fleet('profile_again')

    def tensors(self, device: str | None = None) -> str:
        """Return a worker's inbox (TensorFragment); this device's own if none is named."""
        return self._of_device(device, 'tensors')

    def results(self, device: str | None = None) -> str:
        """Return a frame source's inbox (TensorFragment); this device's own if none is named."""
        return self._of_device(device, 'results')

    def acks(self, device: str | None = None) -> str:
        """Return where acknowledgements for a sender go (HopAck); to this device if none is named."""
        return self._of_device(device, 'receipts')

    def blobs(self, device: str | None = None) -> str:
        """Return where the parts of files go that a device asked for (BlobBlock); to this device if none is named."""
        return self._of_device(device, 'blobs')

    def hedge_plan(self) -> str:
        """Return where the frame source sends its device's worker the plan of hedges (Plan)."""
        return self._of_device(None, 'hedge_plan')
