# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from enum import Enum
from typing import Any

class Parameter:
    class Type(Enum):
        NOT_SET = 0
        BOOL = 1
        INTEGER = 2
        DOUBLE = 3
        STRING = 4
    name: str
    type_: Parameter.Type
    value: Any
    def __init__(self, name: str, type_: Parameter.Type | None = ..., value: Any = ...) -> None: ...
    def to_parameter_msg(self) -> Any: ...
