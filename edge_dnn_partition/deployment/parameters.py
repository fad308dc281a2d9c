# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node's parameter as a table's row: its type, default, range, text and checks. Knows no ROS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.units import parse

Value = Any
"""bool, int, float, str, or a list of one of them."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    :param name: as in ``ros2 param``; parts may be separated by dots.
    :param default: its type is the parameter's type. Where it is a float (or a list of floats), whole numbers
        are taken as well: ``ros2 param set`` sends ``5`` as an integer.
    :param description: one line, with the unit.
    :param minimum: least allowed number (of a list: of each element).
    :param maximum: largest allowed number.
    :param choices: the allowed values, if they can be listed.
    :param read_only: whether it can be set at the start only.
    :param quantity: of a text: ``size``, ``time``, ``rate`` or ``power``, a number with or without its unit (see `units`), or
        nothing. A number is taken as well.
    :param validate: raises `UserError` with the reason if a value is no good; called after the other checks.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Value, ...] = ()
    read_only: bool = False
    quantity: str = ''
    validate: Callable[[Value], None] | None = None

    def coerce(self, value: Value) -> Value:
        """Return ``value`` as the parameter's type, checked.

        :raises UserError: with the reason.
        """
        if isinstance(self.default, (list, tuple)):
            if isinstance(value, str) or not hasattr(value, '__iter__'):
                raise UserError(f'{self.name} must be a list, not {value!r}')
            model = self.default[0] if self.default else None
            result: Value = [self._coerce_one(item, model) for item in value]
        else:
            result = self._coerce_one(value, self.default)
        if self.quantity and result:
            parse(self.quantity, result, what=self.name)
        if self.validate is not None:
            self.validate(result)
        return result

    def _coerce_one(self, value: Value, model: Value) -> Value:
        if self.quantity and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = f'{value}'
        if isinstance(value, int) and abs(value) >= _MOST:
            raise UserError(f'{self.name} is too large for ROS; write a smaller number')
        if isinstance(model, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if model is not None and type(value) is not type(model):
            raise UserError(f'{self.name} must be {_KINDS[type(model)]}, not {value!r}')
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f'{self.name} must be a finite number, not {value!r}')
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                raise UserError(f'{self.name} must be at least {self.minimum:g}, not {value:g}')
            if self.maximum is not None and value > self.maximum:
                raise UserError(f'{self.name} must be at most {self.maximum:g}, not {value:g}')
        if self.choices and value not in self.choices:
            allowed = ', '.join(str(choice) or "'' (empty)" for choice in self.choices)
            raise UserError(f'{self.name} must be one of {allowed}, not {value!r}')
        return value


_MOST = 1 << 63
_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}
