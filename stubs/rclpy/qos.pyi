# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from enum import IntEnum

class HistoryPolicy(IntEnum):
    KEEP_LAST = 1

class ReliabilityPolicy(IntEnum):
    RELIABLE = 1
    BEST_EFFORT = 2

class DurabilityPolicy(IntEnum):
    TRANSIENT_LOCAL = 1
    VOLATILE = 2

class QoSProfile:
    depth: int
    history: HistoryPolicy
    reliability: ReliabilityPolicy
    durability: DurabilityPolicy
    def __init__(
        self, *, depth: int = ..., history: HistoryPolicy = ..., reliability: ReliabilityPolicy = ...,
        durability: DurabilityPolicy = ...,
    ) -> None: ...

qos_profile_sensor_data: QoSProfile
qos_profile_services_default: QoSProfile
