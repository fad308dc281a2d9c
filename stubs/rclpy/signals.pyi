# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from enum import IntEnum

class SignalHandlerOptions(IntEnum):
    NO = 0
    ALL = 3
