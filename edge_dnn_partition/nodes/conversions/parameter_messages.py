# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A parameter's new value as the message that sets it."""

from __future__ import annotations

from collections.abc import Sequence

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue

ParameterGiven = str | float | int | Sequence[float] | Sequence[int] | Sequence[str]


def parameter_message(name: str, value: ParameterGiven) -> Parameter:
    """Return a parameter as ``set_parameters`` takes it."""
    if isinstance(value, str):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value))
    if isinstance(value, bool):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value))
    if isinstance(value, int):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value))
    if isinstance(value, float):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))
    if value and all(isinstance(item, str) for item in value):
        return Parameter(
            name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=list(value))
        )
    if all(isinstance(item, int) for item in value):
        return Parameter(
            name=name, value=ParameterValue(type=ParameterType.PARAMETER_INTEGER_ARRAY, integer_array_value=list(value))
        )
    return Parameter(
        name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE_ARRAY, double_array_value=list(value))
    )
