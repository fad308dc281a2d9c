# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `visualisation`: the fleet as markers for rviz."""

from __future__ import annotations

from typing import Any, Final

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from edge_dnn_partition.deployment.node_parameters import VISUALISATION
from edge_dnn_partition.monitoring import fleet_scene
from edge_dnn_partition.monitoring.fleet_scene import DeviceLook, LinkLook, Scene
from edge_dnn_partition.msg import FleetState
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.plans.plan import Plan

_LIFETIME_SECONDS: Final = 3
"""Markers that are not published again for so long, as of a fleet that has ended, leave the screen."""


class Visualisation(FleetNode):
    """One for a fleet, or none; its namespace is ``/<fleet>``. Listens only."""

    def __init__(self) -> None:
        self._plan_in_force: Plan | None = None
        super().__init__('visualisation', VISUALISATION, per_device=False)

    def setup(self) -> None:
        """Subscribe, and make the publisher."""
        if self.params.text('fleet_file'):
            self.load_fleet()
        self._markers = self.advertise(MarkerArray, self.topics.markers, qos.STATE)
        self.subscribe(PlanMessage, self.topics.plan, self._plan, qos.PLAN)
        self.subscribe(FleetState, self.topics.state, self._state, qos.STATE)

    def teardown(self) -> None:
        """Forget the plan; its topic is transient local."""
        self._plan_in_force = None

    def _plan(self, message: PlanMessage) -> None:
        if message.status == PlanMessage.ACTIVE:
            self._plan_in_force = plan_for(message, None)

    def _state(self, message: FleetState) -> None:
        devices = [DeviceLook(d.device, d.alive, d.cpu_percent / 100, d.watts, d.energy_kind) for d in message.devices]
        links = [
            LinkLook(link.sender, link.receiver, link.bytes_per_second, link.latency_seconds, link.measured)
            for link in message.links
        ]
        scene = fleet_scene.scene(devices, links, self._plan_in_force)
        self._markers.publish(marker_array(scene, self.params.text('frame'), self.get_clock().now().to_msg()))


def marker_array(scene: Scene, frame: str, stamp: Any) -> MarkerArray:
    """Return a scene as markers, in the namespaces ``devices``, ``links`` and ``labels``."""
    markers: list[Marker] = []

    def marker(namespace: str, kind: int, colour: fleet_scene.Colour, **fields: Any) -> Marker:
        result = Marker(
            ns=namespace, id=len(markers), type=kind, action=Marker.ADD, lifetime=Duration(sec=_LIFETIME_SECONDS), **fields
        )
        result.header.frame_id, result.header.stamp = frame, stamp
        result.color = ColorRGBA(**dict(zip('rgba', colour, strict=True)))
        result.pose.orientation.w = 1.0
        markers.append(result)
        return result

    for box in scene.boxes:
        made = marker('devices', Marker.CUBE, box.colour, scale=_vector(box.size), text=box.name)
        made.pose.position = _point(box.centre)
    for line in scene.lines:
        width = Vector3(x=line.width, y=0.0, z=0.0)
        points = [_point(line.start), _point(line.end)]
        marker('links', Marker.LINE_LIST, line.colour, scale=width, points=points, text=line.name)
    for label in scene.labels:
        height = Vector3(x=0.0, y=0.0, z=label.height)
        made = marker('labels', Marker.TEXT_VIEW_FACING, fleet_scene.WORDS, scale=height, text=label.text)
        made.pose.position = _point(label.position)
    return MarkerArray(markers=markers)


def _point(place: fleet_scene.Point) -> Point:
    return Point(x=place[0], y=place[1], z=place[2])


def _vector(size: fleet_scene.Point) -> Vector3:
    return Vector3(x=size[0], y=size[1], z=size[2])


NODE: Final = Visualisation
