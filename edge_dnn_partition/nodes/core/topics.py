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
from typing import Final

from edge_dnn_partition.errors import UserError

DIAGNOSTICS: Final = '/diagnostics'
"""The one topic that is not a fleet's own: everybody's diagnostics go there (REP 107)."""

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
                f'the namespace {namespace!r} names no fleet and device: start the node with '
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
            raise UserError('the namespace names no fleet: start the node with --ros-args -r __ns:=/<fleet>')
        return cls(fleet)

    def _of_fleet(self, leaf: str) -> str:
        return f'/{self.fleet}/{leaf}'

    def _of_device(self, device: str | None, leaf: str) -> str:
        name = self.device if device is None else device
        return f'/{self.fleet}/{check_name(name, what="device")}/{leaf}'

    @property
    def plan(self) -> str:
        """The scheduler's plans (Plan)."""
        return self._of_fleet('plan')

    @property
    def shadow(self) -> str:
        """Plans for shadow frames (Plan): PROPOSED: prepare it; ACTIVE: run one frame under it; DROPPED: let it go."""
        return self._of_fleet('shadow')

    @property
    def plan_state(self) -> str:
        """What workers have made of their part of a plan (StageState)."""
        return self._of_fleet('plan_state')

    @property
    def state(self) -> str:
        """The scheduler's state of the fleet (FleetState)."""
        return self._of_fleet('state')

    @property
    def exploration(self) -> str:
        """Which links the scheduler would know more of (Exploration)."""
        return self._of_fleet('exploration')

    @property
    def heartbeat(self) -> str:
        """The signs of life of all nodes (Heartbeat)."""
        return self._of_fleet('heartbeat')

    @property
    def telemetry(self) -> str:
        """The state of all hosts (Telemetry)."""
        return self._of_fleet('telemetry')

    @property
    def energy(self) -> str:
        """Where the energy of all devices went (DeviceEnergy)."""
        return self._of_fleet('energy')

    @property
    def profile(self) -> str:
        """How fast each device runs the model (Profile)."""
        return self._of_fleet('profile')

    @property
    def frame_report(self) -> str:
        """How each frame went, without its outputs (FrameReport)."""
        return self._of_fleet('frame_report')

    @property
    def frame_failure(self) -> str:
        """Which frames workers cannot process, and why (FrameFailure)."""
        return self._of_fleet('frame_failure')

    @property
    def decision(self) -> str:
        """Why the plan in force is what it is (Decision)."""
        return self._of_fleet('decision')

    @property
    def calibration(self) -> str:
        """Predictions of the last change of plan and what came true (Calibration)."""
        return self._of_fleet('calibration')

    @property
    def source_status(self) -> str:
        """The frame source's books (SourceStatus)."""
        return self._of_fleet('source_status')

    @property
    def sessions(self) -> str:
        """Which processes live, where the fleet has a key (Sessions)."""
        return self._of_fleet('sessions')

    def claim(self, node: str, device: str = '') -> str:
        """Return where the nodes of one kind settle which is active (Claim); under the device's name where each device has one."""
        return self._of_device(device, f'claim/{node}') if device else self._of_fleet(f'claim/{node}')

    def group_sessions(self, group: str) -> str:
        """Return where the schedulers of a group's fleets say the same (Sessions); not the fleet's own."""
        return f'/{check_name(group, what="group")}/sessions'

    @property
    def emulation(self) -> str:
        """How slow devices and links are to be; in the testbed only (Emulation)."""
        return self._of_fleet('emulation')

    @property
    def result(self) -> str:
        """The results, for everyone (Result)."""
        return self._of_fleet('result')

    @property
    def classification(self) -> str:
        """The best classes of each image (Classification)."""
        return self._of_fleet('classification')

    @property
    def detections(self) -> str:
        """The objects in each image (Detections)."""
        return self._of_fleet('detections')

    @property
    def mask(self) -> str:
        """The class of each pixel (sensor_msgs/Image, mono8)."""
        return self._of_fleet('mask')

    @property
    def vision_classification(self) -> str:
        """The best classes, where vision_msgs is installed (vision_msgs/Classification)."""
        return self._of_fleet('vision/classification')

    @property
    def vision_detections(self) -> str:
        """The objects, where vision_msgs is installed (vision_msgs/Detection2DArray)."""
        return self._of_fleet('vision/detections')

    @property
    def annotated(self) -> str:
        """Each image with what the model says of it (sensor_msgs/Image)."""
        return self._of_fleet('annotated')

    @property
    def markers(self) -> str:
        """The fleet for rviz (visualization_msgs/MarkerArray)."""
        return self._of_fleet('markers')

    def plot(self, figure: str) -> str:
        """Return the topic of one figure, for plotters (Float64); may have several parts."""
        return self._of_fleet(f'plot/{figure}')

    def shares(self, group: str) -> str:
        """Return where the schedulers of a group's fleets say what each takes of the hosts (Share); not the fleet's own."""
        return f'/{check_name(group, what="group")}/shares'

    @property
    def pin_plan(self) -> str:
        """The scheduler's service that keeps the fleet to a plan (PinPlan)."""
        return self._of_fleet('pin_plan')

    @property
    def free_plan(self) -> str:
        """The scheduler's service that ends that (Trigger)."""
        return self._of_fleet('free_plan')

    @property
    def replan(self) -> str:
        """The scheduler's service that plans and moves at once (Trigger)."""
        return self._of_fleet('replan')

    @property
    def infer(self) -> str:
        """The frame source's service that runs one image through the fleet (Infer)."""
        return self._of_fleet('infer')

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

    def hedge_plan(self) -> str:
        """Return where the frame source tells its device's worker the plan of hedges (Plan)."""
        return self._of_device(None, 'hedge_plan')
