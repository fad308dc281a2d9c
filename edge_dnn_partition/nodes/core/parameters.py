# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One table describes a node's parameters: their declaration, range, text and checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter as RosParameter

from edge_dnn_partition.deployment.node_parameters import Parameter, Value
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.units import parse

if TYPE_CHECKING:
    from .entities import EntityNode


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` and rqt show.

    The typing is dynamic, so that every value reaches `coerce` and is refused with its reason. The ranges
    are for display; a step of 0 means any value between.
    """
    result = ParameterDescriptor(description=parameter.description, read_only=parameter.read_only, dynamic_typing=True)
    if parameter.choices:
        result.additional_constraints = 'one of ' + ', '.join(str(choice) for choice in parameter.choices)
    if parameter.minimum is not None and parameter.maximum is not None:
        if isinstance(parameter.default, (list, tuple)):  # ROS has no ranges for lists
            result.additional_constraints = f'each number from {parameter.minimum:g} to {parameter.maximum:g}'
        elif isinstance(parameter.default, float):
            result.floating_point_range = [
                FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            ]
        elif isinstance(parameter.default, int):
            result.integer_range = [
                IntegerRange(from_value=int(parameter.minimum), to_value=int(parameter.maximum))
            ]
    return result


class ParameterTable(Mapping[str, Value]):
    """A node's parameters, declared and checked by their table; ``table['name']`` is the present value.

    Reading is safe from any thread.

    :param node: the node to declare them on.
    :param parameters: the table.
    :param check: raises `UserError` if the values contradict each other; gets all of them, as they would be.
    :raises UserError: if a value given at the start is no good.
    """

    def __init__(
        self,
        node: EntityNode,
        parameters: Sequence[Parameter],
        *,
        check: Callable[[Mapping[str, Value]], None] | None = None,
    ) -> None:
        self._node = node
        self._table = {parameter.name: parameter for parameter in parameters}
        if len(self._table) != len(parameters):
            raise ValueError('two parameters have one name')
        self._check = check
        self._lock = threading.Lock()
        self._values: dict[str, Value] = {}
        self._listeners: list[tuple[str | None, Callable[[str, Value], None]]] = []
        values = {name: self._declare(parameter) for name, parameter in self._table.items()}
        if check is not None:
            check(values)
        self._values = values
        node.add_pre_set_parameters_callback(self._before)
        node.add_on_set_parameters_callback(self._during)
        node.add_post_set_parameters_callback(self._after)

    def __getitem__(self, name: str) -> Value:
        with self._lock:
            return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def number(self, name: str) -> float:
        """Return a parameter whose default is a float."""
        return float(self[name])

    def whole(self, name: str) -> int:
        """Return a parameter whose default is an int."""
        return int(self[name])

    def text(self, name: str) -> str:
        """Return a parameter whose default is a str."""
        return str(self[name])

    def quantity(self, name: str) -> float | None:
        """Return a parameter that is a quantity in its base unit; None where it says nothing."""
        text = self.text(name)
        return parse(self._table[name].quantity, text, what=name) if text else None

    def flag(self, name: str) -> bool:
        """Return a parameter whose default is a bool."""
        return bool(self[name])

    def on_change(self, callback: Callable[[str, Value], None], name: str | None = None) -> None:
        """Call ``callback(name, value)`` after a parameter has been set, in the thread that spins.

        :param name: the parameter of interest; None: all of the table.
        """
        self._listeners.append((name, callback))

    def _declare(self, parameter: Parameter) -> Value:
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        try:
            declared = self._node.declare_parameter(parameter.name, default, descriptor(parameter))
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            raise UserError(f'parameter {parameter.name}: {error}') from None
        value = declared.value
        if isinstance(parameter.default, (list, tuple)) and value is None:
            value = []
        return parameter.coerce(value)

    def _before(self, parameters: list[RosParameter]) -> list[RosParameter]:
        """Make floats of whole numbers, so that a parameter's type stays what it was declared as."""
        result = []
        for given in parameters:
            known = self._table.get(given.name)
            if known is not None and given.value is not None:
                try:
                    value = known.coerce(given.value)
                except UserError:
                    value = given.value  # refused, with the reason, by _during
                if value != [] and type(value) is not type(given.value):
                    result.append(RosParameter(given.name, value=value))
                    continue
            result.append(given)
        return result

    def _during(self, parameters: list[RosParameter]) -> SetParametersResult:
        """Check a change, with the reason in the answer."""
        with self._lock:
            values = dict(self._values)
        try:
            for given in parameters:
                if (known := self._table.get(given.name)) is not None:
                    if given.type_ == RosParameter.Type.NOT_SET:
                        raise UserError(f'{given.name} cannot be removed')
                    values[given.name] = known.coerce(given.value)
            if self._check is not None:
                self._check(values)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _after(self, parameters: list[RosParameter]) -> None:
        """Take a change over and tell those who asked."""
        changed = {p.name: self._table[p.name].coerce(p.value) for p in parameters if p.name in self._table}
        with self._lock:
            self._values.update(changed)
        for name, value in changed.items():
            for wanted, callback in self._listeners:
                if wanted in (None, name):
                    try:
                        callback(name, value)
                    except Exception:  # noqa: BLE001
                        self._node.repeats.failure(f'following the new {name} failed')
