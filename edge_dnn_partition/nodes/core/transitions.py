# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The service by which a lifecycle manager moves a node: an answer to every request, some of them later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from .later import DeferredResponse, allow_later

if TYPE_CHECKING:
    from .base import FleetNode


def guard_transitions(node: FleetNode) -> None:
    """Answer an impossible transition with success false, where rclpy raises and gives no answer.

    The active state is left when what is under way is finished, and entered if no other node has this one's role.
    """
    for service in node.services:
        if service.srv_type is ChangeState:
            _guard(node, service)


def _guard(node: FleetNode, service: Any) -> None:
    change = service.callback

    def refused(request: Any, response: Any, reason: str) -> Any:
        node.get_logger().warning(f'transition {request.transition.label or request.transition.id} refused: {reason}')
        response.success = False
        return response

    def attempt(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except Exception as error:  # noqa: BLE001
            return refused(request, response, str(error).partition(', at ')[0])

    def answer(request: Any, response: Any) -> Any:
        wanted, later = request.transition, DeferredResponse()
        if node.active and _is(wanted, 'deactivate', 'shutdown', numbers=_LEAVE):
            node.when_drained(lambda: later.give(attempt(request, response)))
        elif node.role is not None and not node.active and _is(wanted, 'activate', numbers=_ENTER):
            node.role.want(
                lambda: later.give(attempt(request, response)), lambda reason: later.give(refused(request, response, reason))
            )
        else:
            return attempt(request, response)
        return later

    service.callback = answer
    allow_later(service)


_LEAVE = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN)
_ENTER = (Transition.TRANSITION_ACTIVATE,)


def _is(transition: Transition, *labels: str, numbers: tuple[int, ...]) -> bool:
    """Return whether a transition is one of some, by number or by label as rclpy takes it."""
    return transition.label in labels if transition.label else transition.id in numbers
