# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Orders of a directed graph: a topological one with small frontiers, and its knots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def small_frontier_order(
    reads: Sequence[Sequence[str]], writes: Sequence[Sequence[str]], *,
    sizes: Mapping[str, int], outputs: Sequence[str], levels: Sequence[int] | None = None,
) -> list[int]:
    """Return a topological order of layers that keeps few bytes alive.

    Greedy list scheduling: of the layers that could run next, the one that leaves
    the fewest bytes on the frontier goes first; among equals the one whose inputs
    are the youngest, which finishes a branch before it begins another, then the
    lowest index. Deterministic; O(layers x width).

    :param reads: per layer, the tensors it reads; those no layer writes are the model's inputs.
    :param sizes: bytes per tensor.
    :param outputs: tensors that stay alive to the end.
    :param levels: of layers; a lower one goes first. No layer may need one of a higher level.
    """
    producer = {name: index for index, names in enumerate(writes) for name in names}
    readers: dict[str, list[int]] = {}
    for index, names in enumerate(reads):
        for name in names:
            readers.setdefault(name, []).append(index)
    unread = {name: len(indices) for name, indices in readers.items()}
    for name in outputs:
        unread[name] = unread.get(name, 0) + 1
    waiting = [sum(name in producer for name in names) for names in reads]
    age = [-1] * len(reads)
    ready = {index for index, count in enumerate(waiting) if not count}
    added = [sum(sizes.get(name, 0) for name in names if unread.get(name)) for names in writes]
    order: list[int] = []

    def rank(index: int) -> tuple[int, int, int, int]:
        freed = sum(sizes.get(name, 0) for name in reads[index] if unread[name] == 1)
        return levels[index] if levels else 0, added[index] - freed, -age[index], index

    while ready:
        index = min(ready, key=rank)
        ready.remove(index)
        order.append(index)
        for name in reads[index]:
            unread[name] -= 1
        for name in writes[index]:
            for reader in readers.get(name, ()):
                waiting[reader] -= 1
                age[reader] = len(order)
                if not waiting[reader]:
                    ready.add(reader)
    return order


def strongly_connected(successors: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the strongly connected components (Tarjan 1972, without recursion)."""
    count = len(successors)
    number = [-1] * count
    low = [0] * count
    on_stack = [False] * count
    stack: list[int] = []
    components: list[list[int]] = []
    clock = 0
    for root in range(count):
        if number[root] >= 0:
            continue
        work = [(root, iter(successors[root]))]
        number[root] = low[root] = clock
        clock += 1
        stack.append(root)
        on_stack[root] = True
        while work:
            vertex, targets = work[-1]
            for target in targets:
                if number[target] < 0:
                    number[target] = low[target] = clock
                    clock += 1
                    stack.append(target)
                    on_stack[target] = True
                    work.append((target, iter(successors[target])))
                    break
                if on_stack[target]:
                    low[vertex] = min(low[vertex], number[target])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[vertex])
                if low[vertex] == number[vertex]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack[member] = False
                        component.append(member)
                        if member == vertex:
                            break
                    components.append(sorted(component))
    return components
