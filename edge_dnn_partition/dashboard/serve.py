# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the dashboard's server where its library is installed, and says what to install where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_dnn_partition.errors import UserError

from .board import Board

if TYPE_CHECKING:
    from .server import DashboardServer


def new_server(*boards: Board, **options: Any) -> DashboardServer:
    """Return a server of boards, not started yet; see `DashboardServer` for the options.

    :raises UserError: if aiohttp is missing.
    """
    try:
        from .server import DashboardServer
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith('edge_dnn_partition'):
            raise
        raise UserError(
            f"the dashboard needs the Python package {error.name}: pip install 'aiohttp>=3.9' (the extra `dashboard`)"
        ) from error
    return DashboardServer(*boards, **options)
