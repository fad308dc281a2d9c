# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Work that takes long, on a thread of its own: who hears heartbeats must not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def run_in_background(work: Callable[[], Any], name: str) -> Future[Any]:
    """Return what will be the work's outcome; its thread does not hold up the process's end."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
