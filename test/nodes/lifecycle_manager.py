# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle manager for tests."""

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState


class Manager:
    """Drives nodes through their lifecycle as an external manager does.

    :param client: a `FleetClient`.
    :param nodes: their paths, by the names that they have here.
    """

    def __init__(self, client, nodes):
        self.client = client
        self.services = {name: client.node.create_client(ChangeState, f'{path}/change_state') for name, path in nodes.items()}
        for service in self.services.values():
            assert service.wait_for_service(timeout_sec=20.0)

    def ask(self, name, label):
        """Ask for a transition; return whether it was made."""
        number = getattr(Transition, f'TRANSITION_{label.upper()}')
        future = self.services[name].call_async(ChangeState.Request(transition=Transition(id=number)))
        self.client.wait_for(future.done, 30.0, f'the answer of {name} to {label}')
        return future.result().success

    def go(self, name, *labels):
        """Make transitions, which succeed."""
        for label in labels:
            assert self.ask(name, label), (name, label)
