# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from rclpy.clock_type import ClockType
from rclpy.time import Time

class Clock:
    def __init__(self, *, clock_type: ClockType = ...) -> None: ...
    def now(self) -> Time: ...
