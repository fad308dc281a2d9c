# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# Of rclpy only what this package uses. Message classes are Any: they are generated.

from collections.abc import Sequence
from typing import Any

from rclpy.context import Context as Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

def init(
    *, args: Sequence[str] | None = ..., context: Context | None = ..., domain_id: int | None = ...,
    signal_handler_options: SignalHandlerOptions | None = ...,
) -> None: ...
def create_node(node_name: str, *, context: Context | None = ..., namespace: str | None = ..., **kwargs: Any) -> Node: ...
def try_shutdown(*, context: Context | None = ...) -> None: ...
def shutdown(*, context: Context | None = ...) -> None: ...
def ok(*, context: Context | None = ...) -> bool: ...
