# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

class Time:
    nanoseconds: int
    def to_msg(self) -> Any: ...
    @classmethod
    def from_msg(cls, msg: Any) -> Time: ...
