# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes form one layer: a producer, its activation, and what may not be torn apart.

A runtime fuses an activation into its producer, which a cut between the two would
prevent. Exporters write many activations as several nodes (SiLU is Sigmoid and Mul,
GELU is Div, Erf, Add, Mul, Mul), so an activation is taken to be any set of pointwise
nodes that compute from one tensor, and that one tensor leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx import NodeProto

from edge_dnn_partition.graph.nodes import NodeTable
from edge_dnn_partition.graph.order import strongly_connected
from edge_dnn_partition.graph.tensor_info import TensorInfo

_POINTWISE = frozenset(
    [
        'Abs',
        'Add',
        'BatchNormalization',
        'Celu',
        'Clip',
        'Div',
        'Dropout',
        'Elu',
        'Erf',
        'Exp',
        'FastGelu',
        'BiasGelu',
        'Gelu',
        'HardSigmoid',
        'HardSwish',
        'Identity',
        'LeakyRelu',
        'Log',
        'Max',
        'Min',
        'Mish',
        'Mul',
        'Neg',
        'PRelu',
        'Pow',
        'QuantizeLinear',
        'QuickGelu',
        'Reciprocal',
        'Relu',
        'Selu',
        'Sigmoid',
        'Softplus',
        'Softsign',
        'Sqrt',
        'Sub',
        'Swish',
        'Tanh',
        'ThresholdedRelu',
    ]
)


def group_nodes(
    table: NodeTable, tensors: Mapping[str, TensorInfo], states: Mapping[str, str] | None = None
) -> list[list[int]]:
    """Return the layers as lists of nodes in ascending order; copied nodes are in none.

    :param tensors: the tensors that can cross a cut; others keep their ends together.
    :param states: outputs by the inputs that they become for the next frame. What lies between the readers of such an input and
        the maker of its output is one layer: a state stays on one device.
    """
    leader = list(range(len(table.nodes)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    taken: set[int] = set()
    for index in range(len(table.nodes)):
        if table.is_copied[index] or index in taken:
            continue
        for follower in _activation(table, index):
            taken.add(follower)
            leader[find(follower)] = find(index)
    for index, made in enumerate(table.writes):
        if not table.is_copied[index]:
            for name in made:
                if name not in tensors:
                    for reader in table.readers.get(name, ()):
                        leader[find(reader)] = find(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(table.nodes)):
        if not table.is_copied[index]:
            groups.setdefault(find(index), []).append(index)
    return _without_cycles(table, list(groups.values()), states or {})


def _activation(table: NodeTable, producer: int) -> list[int]:
    """Return the pointwise nodes that belong to a producer."""
    used = [name for name in table.writes[producer] if name in table.readers or name in table.outputs]
    if len(used) != 1 or table.nodes[producer].op_type == 'QuantizeLinear':
        return []
    exit_name = used[0]
    members: list[int] = []
    while True:
        step = _step(table, exit_name)
        if not step:
            return members + _quantizers(table, exit_name, members)
        members += step
        (exit_name,) = (name for name in table.writes[step[-1]] if name in table.readers or name in table.outputs)
        if table.nodes[step[-1]].op_type == 'QuantizeLinear':
            return members


def _step(table: NodeTable, start: str) -> list[int]:
    """Return the fewest pointwise nodes between one tensor and the next that alone carries on."""
    if start in table.outputs:
        return []
    inside = {start}
    members: list[int] = []
    candidates = sorted(table.readers.get(start, ()))
    while candidates:
        index = candidates.pop(0)
        node = table.nodes[index]
        if not _is_pointwise(node) or not set(table.reads[index]) <= inside:
            continue
        made = [name for name in table.writes[index] if name in table.readers or name in table.outputs]
        if len(made) != 1:
            continue
        members.append(index)
        inside.add(made[0])
        if _exits(table, inside, members) == {made[0]}:
            return members
        if made[0] not in table.outputs:
            candidates = sorted({*candidates, *table.readers.get(made[0], ())} - set(members))
    return []


def _exits(table: NodeTable, inside: Collection[str], members: Collection[int]) -> set[str]:
    return {
        name for name in inside if name in table.outputs or any(reader not in members for reader in table.readers.get(name, ()))
    }


def _quantizers(table: NodeTable, name: str, members: Collection[int]) -> list[int]:
    """Return all readers of a tensor if each of them quantises it."""
    readers = table.readers.get(name, ())
    if name in table.outputs or not readers or any(table.nodes[reader].op_type != 'QuantizeLinear' for reader in readers):
        return []
    return [reader for reader in readers if reader not in members]


def _is_pointwise(node: NodeProto) -> bool:
    return node.op_type in _POINTWISE and node.domain in ('', 'ai.onnx', 'com.microsoft')


def _without_cycles(table: NodeTable, groups: list[list[int]], states: Mapping[str, str]) -> list[list[int]]:
    """Join the groups that need each other, in one frame or from frame to frame, so that the rest form a DAG."""
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    successors: list[set[int]] = [set() for _ in groups]
    for name, readers in table.readers.items():
        maker = table.producer.get(name)
        if maker is not None:
            successors[group_of[maker]].update(group_of[reader] for reader in readers)
    for state, output in states.items():
        maker = group_of[table.producer[output]]
        for reader in (group_of[index] for index in table.readers.get(state, ())):
            successors[maker].add(reader)
            successors[reader].add(maker)
    joined = strongly_connected([sorted(targets - {number}) for number, targets in enumerate(successors)])
    return sorted(sorted(index for number in component for index in groups[number]) for component in joined)
