# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node's log, in which names from files and messages cannot steer the terminal."""

from __future__ import annotations

from typing import Any

from edge_dnn_partition.text import printable


class PrintableLogger:
    """A logger of rclpy whose texts are written out.

    :param logger: what it stands for in everything else.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    # One method for each level: rclpy wants one level for each place that it is called from.

    def debug(self, text: str, **options: Any) -> bool:
        """Log for developers."""
        return bool(self._logger.debug(printable(text), **options))

    def info(self, text: str, **options: Any) -> bool:
        """Log what goes on."""
        return bool(self._logger.info(printable(text), **options))

    def warning(self, text: str, **options: Any) -> bool:
        """Log what someone should know."""
        return bool(self._logger.warning(printable(text), **options))

    def error(self, text: str, **options: Any) -> bool:
        """Log what has failed."""
        return bool(self._logger.error(printable(text), **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)
